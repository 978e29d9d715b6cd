import MartletXML
import NIOCore
import Testing

@Suite("What the server wrote itself")
struct OwnWritingTests {
    @Test(
        "it is read again where a peer would be turned away: what came within the limits may be longer as it is written",
        arguments: [
            "<a>" + String(repeating: "&amp;", count: 100_000) + "</a>",
            String(repeating: "<a>", count: 1_000) + String(repeating: "</a>", count: 1_000),
            "<a " + (0..<200).map { "b\($0)=''" }.joined(separator: " ") + "/>",
            "<a>" + String(repeating: "<b/>", count: 20_000) + "</a>",
        ])
    func readAgain(xml: String) throws {
        #expect(throws: XMLError.self) { try parseElement(ByteBuffer(string: xml), limits: .authenticated) }
        let element = try parseElement(ByteBuffer(string: xml), limits: .ownWriting)
        #expect(element.byteCount == xml.utf8.count)
    }
}
