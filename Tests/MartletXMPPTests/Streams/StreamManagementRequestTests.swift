import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("XEP-0198: what clients say about the stream")
struct StreamManagementRequestTests {
    private func request(_ xml: String) throws -> StreamManagementRequest? {
        StreamManagementRequest(try parseElement(ByteBuffer(string: xml), limits: .authenticated))
    }

    @Test(
        "is read as it is written (§3, §4, §5)",
        arguments: [
            ("<enable xmlns='urn:xmpp:sm:3'/>", StreamManagementRequest.enable(resumes: false, secondsMax: nil)),
            ("<enable xmlns='urn:xmpp:sm:3' resume='true'/>", .enable(resumes: true, secondsMax: nil)),
            ("<enable xmlns='urn:xmpp:sm:3' resume='1' max='60'/>", .enable(resumes: true, secondsMax: 60)),
            ("<enable xmlns='urn:xmpp:sm:3' resume='0'/>", .enable(resumes: false, secondsMax: nil)),
            ("<r xmlns='urn:xmpp:sm:3'/>", .request),
            ("<a xmlns='urn:xmpp:sm:3' h='0'/>", .acknowledge(0)),
            ("<a xmlns='urn:xmpp:sm:3' h='4294967295'/>", .acknowledge(.max)),
            ("<resume xmlns='urn:xmpp:sm:3' previd='x' h='7'/>", .resume(previous: "x", handled: 7)),
        ])
    func read(xml: String, expected: StreamManagementRequest) throws {
        #expect(try request(xml) == expected)
    }

    @Test(
        "is not guessed at",
        arguments: [
            "<a xmlns='urn:xmpp:sm:3'/>", "<a xmlns='urn:xmpp:sm:3' h=''/>", "<a xmlns='urn:xmpp:sm:3' h='-1'/>",
            "<a xmlns='urn:xmpp:sm:3' h='+1'/>", "<a xmlns='urn:xmpp:sm:3' h='4294967296'/>", "<a xmlns='urn:xmpp:sm:3' h=' 1'/>",
            "<enable xmlns='urn:xmpp:sm:3' resume='yes'/>", "<enable xmlns='urn:xmpp:sm:3' resume='true' max='soon'/>",
            "<resume xmlns='urn:xmpp:sm:3' previd='x'/>", "<resume xmlns='urn:xmpp:sm:3' h='1'/>", "<x xmlns='urn:xmpp:sm:3'/>",
            "<r xmlns='urn:xmpp:sm:2'/>",
        ])
    func refused(xml: String) throws {
        #expect(try request(xml) == nil)
    }

    @Test("an identifier may have 256 bytes", arguments: [256, 257])
    func longIdentifier(bytes: Int) throws {
        let id = String(repeating: "x", count: bytes)
        #expect((try request("<resume xmlns='urn:xmpp:sm:3' previd='\(id)' h='1'/>") == nil) == (bytes > 256))
    }
}
