import MartletNetwork
import Testing

@Suite("Clients that go on with an earlier TLS session (RFC 8446 §2.2)")
struct RememberedChainTests {
    let certificates = ClientCertificates(ClientCertificateSettings(), nil)

    @Test("what was shown with a certificate comes back with it, and nothing with another one")
    func recalled() {
        certificates.remember([[1], [2], [3]])
        #expect(certificates.recall([1]) == [[1], [2], [3]])
        #expect(certificates.recall([2]) == [[2]])
        certificates.remember([[1], [4]])
        #expect(certificates.recall([1]) == [[1], [4]])
    }

    @Test("so many are remembered, and whoever has not come for longest is forgotten")
    func bounded() {
        for number in 0..<ClientCertificates.rememberedMax { certificates.remember([Self.name(number), [0]]) }
        #expect(certificates.recall(Self.name(0)).count == 2)
        certificates.remember([Self.name(ClientCertificates.rememberedMax), [0]])
        #expect(certificates.recall(Self.name(0)).count == 2 && certificates.recall(Self.name(1)).count == 1)
        #expect(certificates.recall(Self.name(2)).count == 2 && certificates.recall(Self.name(ClientCertificates.rememberedMax)).count == 2)
    }

    private static func name(_ number: Int) -> [UInt8] { [UInt8(number >> 8), UInt8(number & 0xFF), 1] }
}
