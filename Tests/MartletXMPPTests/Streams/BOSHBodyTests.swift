import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("Bodies of BOSH (XEP-0124, XEP-0206)")
struct BOSHBodyTests {
    private static let namespace = "xmlns='http://jabber.org/protocol/httpbind'"

    private func request(_ text: String) throws(BOSHRequest.Fault) -> BOSHRequest {
        try BOSHRequest(ByteBuffer(string: text), limits: .unauthenticated, scratch: XMLParserScratch())
    }

    @Test("a body says what it says, and holds elements that may use what it declares (XEP-0124 §7)")
    func read() throws {
        let body = try request(
            "<body rid='7' sid='s' pause='9' type='terminate' \(Self.namespace) xmlns:a='urn:a'><iq xmlns='jabber:client'/> <a:b/></body>")
        #expect(body.rid == 7 && body.sid == "s" && body.pause == 9 && body.isTermination && !body.isRestart)
        #expect(body.elements.map(\.localName) == ["iq", "b"])
        #expect(body.elements.first?.namespace == .client)
        let first = try request("<body rid='1' to='verona.example' \(Self.namespace)/>")
        #expect(first.sid == nil && first.wait == 60 && first.hold == 1 && first.elements.isEmpty)
        #expect(try StreamHeader(body: first.body).domain == "verona.example")
        #expect(try request("<body rid='2' sid='s' \(Self.namespace) xmlns:xmpp='urn:xmpp:xbosh' xmpp:restart='true'/>").isRestart)
    }

    @Test("a request identifier is a number up to 2^53 - 1 (XEP-0124 §14.1)")
    func identifiers() throws {
        #expect(try request("<body rid='9007199254740991' \(Self.namespace)/>").rid == BOSHRequest.ridMax)
        for rid in ["9007199254740992", "-1", "+1", "", "x", "99999999999999999999999"] {
            #expect(throws: BOSHRequest.Fault.malformed) { try request("<body rid='\(rid)' \(Self.namespace)/>") }
        }
        #expect(throws: BOSHRequest.Fault.malformed) { try request("<body \(Self.namespace)/>") }
    }

    @Test("what is no body, or not all of one, is refused; names of sessions have 64 bytes at most", arguments: [0, 1])
    func malformed(more: Int) throws {
        #expect(throws: BOSHRequest.Fault.malformed) { try request("<body rid='1' xmlns='jabber:client'/>") }
        #expect(throws: BOSHRequest.Fault.malformed) { try request("<body rid='1' \(Self.namespace)><iq/>") }
        #expect(throws: BOSHRequest.Fault.xml(.restrictedXML)) { try request("<!DOCTYPE x><body rid='1' \(Self.namespace)/>") }
        let name = String(repeating: "n", count: BOSHRequest.sidBytesMax + more)
        let text = "<body rid='1' sid='\(name)' \(Self.namespace)/>"
        if more == 0 { #expect(try request(text).sid == name) } else { #expect(throws: BOSHRequest.Fault.malformed) { try request(text) } }
    }

    @Test("an answer holds elements with what they need to be read in it (XEP-0206 §4)")
    func written() {
        func text(_ answer: BOSHAnswer) -> String { String(buffer: answer.bytes) }
        #expect(text(BOSHAnswer()) == "<body \(Self.namespace)/>")
        #expect(text(BOSHAnswer(ending: .terminates(.itemNotFound))) == "<body \(Self.namespace) type='terminate' condition='item-not-found'/>")
        let elements = ["<iq id='1'/>", "<stream:features/>", "<r xmlns='urn:xmpp:sm:3'/>"].map { ByteBuffer(string: $0) }
        #expect(
            text(BOSHAnswer(elements)) == "<body \(Self.namespace)><iq xmlns='jabber:client' id='1'/>"
                + "<stream:features xmlns:stream='http://etherx.jabber.org/streams'/><r xmlns='urn:xmpp:sm:3'/></body>")
    }
}
