import MartletCore
import MartletFeatures
import Testing

import martlet

@Suite("What is told of devices")
struct DeviceLineTests {
    private static func text(_ proofs: DeviceProofs) throws -> String {
        let id = try #require(DeviceID(text: "00000000000000ff"))
        let device = StoredDevice(id: id, software: "Gajim", firstSeen: 0, lastSeen: 0, proofs: proofs)
        return DeviceLine(try #require(AccessingClient.all([device], connected: [id], at: 0).first)).text
    }

    @Test("a device says in the list by what it comes in")
    func proofs() throws {
        #expect(try Self.text(.password) == "00000000000000ff  connected  by password  Gajim")
        #expect(try Self.text(.certificate) == "00000000000000ff  connected  by certificate  Gajim")
        #expect(try Self.text([.password, .certificate, .grant]) == "00000000000000ff  connected  by password, certificate, authorization server  Gajim")
        #expect(try Self.text([]) == "00000000000000ff  connected  by nothing  Gajim")
    }

    @Test("what remains to be done for each by which it can come back")
    func remainders() {
        #expect(DeviceRemainder.password.advice(for: "juliet@capulet.example").contains("martlet account password juliet@capulet.example"))
        #expect(DeviceRemainder.certificate.advice(for: "juliet@capulet.example").contains("martlet account certificates juliet@capulet.example"))
        #expect(DeviceRemainder.grant.advice(for: "juliet@capulet.example").contains("authorization server"))
    }
}
