import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("FAST on the wire (XEP-0484)")
struct FASTTests {
    private func request(
        _ children: String, _ mechanism: SASLMechanism = .hashedToken(.none), offered: [HashedTokenMechanism] = HashedTokenMechanism.allCases
    ) throws -> FASTRequest {
        let text = "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='\(mechanism.name)'>\(children)</authenticate>"
        let element = try parseElement(ByteBuffer(string: text), limits: .unauthenticated)
        return try FASTRequest(element.root, mechanism: mechanism, offered: offered)
    }

    private func written(_ content: (inout XMLWriter) -> Void) -> String {
        var writer = XMLWriter()
        content(&writer)
        return String(buffer: writer.buffer)
    }

    @Test("a client that logs in by its password may ask for a token (§3.2)")
    func wanted() throws {
        let request = try request("<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-EXPR'/>", .scram(.sha256))
        #expect(request.use == nil && request.wanted == .exporter)
    }

    @Test("a token is asked for only for what is offered (§3.2)")
    func notOffered() {
        for mechanism in ["HT-SHA-256-ENDP", "HT-SHA-512-NONE", "SCRAM-SHA-256", ""] {
            #expect(throws: SASLFailure.self) {
                try request("<request-token xmlns='urn:xmpp:fast:0' mechanism='\(mechanism)'/>", .scram(.sha256), offered: [.none, .exporter])
            }
        }
    }

    @Test("a client says that it logs in by a token, and how (§3.4, §3.6)")
    func use() throws {
        #expect(try request("<fast xmlns='urn:xmpp:fast:0'/>").use == FASTRequest.Use(count: nil, invalidates: false))
        #expect(try request("<fast xmlns='urn:xmpp:fast:0' count='123' invalidate='true'/>").use == FASTRequest.Use(count: 123, invalidates: true))
        #expect(try request("<fast xmlns='urn:xmpp:fast:0' count='2147483647' invalidate='1'/>").use == FASTRequest.Use(count: 2_147_483_647, invalidates: true))
        #expect(try request("<fast xmlns='urn:xmpp:fast:0' invalidate='0'/>").use?.invalidates == false)
    }

    @Test("a count is a positive number, and a boolean is one", arguments: ["count='0'", "count='-1'", "count='2147483648'", "count='+1'", "count=''", "invalidate='yes'"])
    func malformed(attribute: String) {
        let failure = #expect(throws: SASLFailure.self) { try request("<fast xmlns='urn:xmpp:fast:0' \(attribute)/>") }
        #expect(failure?.condition == .malformedRequest)
    }

    @Test("a mechanism of tokens goes with <fast/>, and no other does (§3.4)")
    func together() throws {
        #expect(throws: SASLFailure.self) { try request("") }
        #expect(throws: SASLFailure.self) { try request("<fast xmlns='urn:xmpp:fast:0'/>", .plain) }
        #expect(try request("", .plain) == request("", .scram(.sha1)))
    }

    @Test("mechanisms are offered as far as the connection can be bound, and none without TLS (§3.1, §8)")
    func offer() {
        let (endPoint, exporter) = (Verona.endPoint, Verona.exporter)
        #expect(FASTOffer.mechanisms(isSecure: false, bindings: [endPoint, exporter]) == [])
        #expect(FASTOffer.mechanisms(isSecure: true, bindings: []) == [.none])
        #expect(FASTOffer.mechanisms(isSecure: true, bindings: [endPoint]) == [.serverEndPoint, .none])
        #expect(FASTOffer.mechanisms(isSecure: true, bindings: [endPoint, exporter]) == [.exporter, .serverEndPoint, .none])
    }

    @Test("what the server says is as the examples have it (§3.1, §3.3)")
    func writing() {
        let offer = written { FASTOffer.write([.serverEndPoint, .none], to: &$0) }
        #expect(offer == "<fast xmlns='urn:xmpp:fast:0'><mechanism>HT-SHA-256-ENDP</mechanism><mechanism>HT-SHA-256-NONE</mechanism></fast>")
        #expect(written { FASTOffer.write([], to: &$0) } == "")
        let token = written { FASTOffer.write(HashedToken("WXZzciBwYmFmdmZnZiBqdmd1IGp2eXFhcmZm"), expires: 1_584_023_775_000, to: &$0) }
        #expect(token == "<token xmlns='urn:xmpp:fast:0' expiry='2020-03-12T14:36:15Z' token='WXZzciBwYmFmdmZnZiBqdmd1IGp2eXFhcmZm'/>")
    }
}
