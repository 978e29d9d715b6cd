import MartletCore
import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("Presence priorities (RFC 6121 §4.7.2.3)")
struct PriorityTests {
    private func priority(_ content: String) throws -> Int8? {
        let element = try parseElement(ByteBuffer(string: "<presence>\(content)</presence>"), limits: .authenticated)
        return Router.priority(of: Stanza(element, kind: .presence(.available), from: try JID("romeo@montague.test/orchard"), to: nil))
    }

    @Test(
        "a priority is a number from -128 to 127, and zero if there is none",
        arguments: [
            ("", 0), ("<priority/>", 0), ("<priority>5</priority>", 5), ("<priority> -1\n</priority>", -1),
            ("<priority>-128</priority>", -128), ("<priority>127</priority>", 127), ("<priority>128</priority>", nil),
            ("<priority>-129</priority>", nil), ("<priority>high</priority>", nil), ("<priority>1.5</priority>", nil),
        ] as [(String, Int8?)])
    func range(content: String, expected: Int8?) throws {
        #expect(try priority(content) == expected)
    }

    @Test("white space around it counts towards 64 bytes")
    func length() throws {
        #expect(try priority("<priority>\(String(repeating: " ", count: 63))5</priority>") == 5)
        #expect(try priority("<priority>\(String(repeating: " ", count: 64))5</priority>") == nil)
    }
}
