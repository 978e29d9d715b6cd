import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite struct StreamHeaderTests {
    static let usual = "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"

    static func opened(_ text: String) throws -> FlatElement {
        var parser = XMLStreamParser(limits: .unauthenticated)
        var bytes = ByteBuffer(string: text)
        guard case .opened(let element) = try parser.next(from: &bytes) else { throw StreamError(.badFormat) }
        return element
    }

    static func fault(_ text: String) throws -> StreamError.Condition? {
        let element = try opened(text)
        do throws(StreamError) {
            _ = try StreamHeader(element)
            return nil
        } catch {
            return error.condition
        }
    }

    @Test("a header gives the prepared domain, the claimed sender and the language (RFC 6120 §4.7)")
    func fields() throws {
        let header = try StreamHeader(
            Self.opened("<stream:stream to='Verona.Example' from='Juliet@verona.example/x' version='1.0' xml:lang='en-GB' \(Self.usual)>"))
        #expect(header.domain == "verona.example")
        #expect(header.from?.description == "juliet@verona.example")
        #expect(header.language == "en-GB")
        #expect(try StreamHeader(Self.opened("<stream:stream to='verona.example' version='1.0' xml:lang='e n' \(Self.usual)>")).language == nil)
    }

    @Test("versions from 1.0 on are spoken, leading zeros are ignored (RFC 6120 §4.7.5)", arguments: [
        ("1.0", true), ("1.1", true), ("01.00", true), ("2.0", true), ("10.3", true), ("0.9", false), ("0.10", false), ("00.0", false), ("1", false),
        ("", false), ("1.0.0", false), ("-1.0", false), ("1.x", false), (".", false), ("one", false), ("99999999999999999999999.0", true),
    ])
    func versions(version: String, isSpoken: Bool) throws {
        #expect(try Self.fault("<stream:stream to='verona.example' version='\(version)' \(Self.usual)>") == (isSpoken ? nil : .unsupportedVersion))
    }

    @Test("what is wrong with a header has its own condition (RFC 6120 §4.9.3)", arguments: [
        ("<stream:stream to='verona.example' \(usual)>", StreamError.Condition.unsupportedVersion),
        ("<stream:stream version='1.0' \(usual)>", .improperAddressing),
        ("<stream:stream to='' version='1.0' \(usual)>", .hostUnknown),
        ("<stream:stream to='a b' version='1.0' \(usual)>", .hostUnknown),
        ("<stream:stream to='juliet@verona.example' version='1.0' \(usual)>", .hostUnknown),
        ("<stream:stream to='verona.example' from='@' version='1.0' \(usual)>", .improperAddressing),
        ("<stream:stream to='verona.example' from='romeo@mantua.example' version='1.0' \(usual)>", .invalidFrom),
        ("<stream:stream to='verona.example' version='1.0' xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'>", .invalidNamespace),
        ("<stream:stream to='verona.example' version='1.0' xmlns:stream='http://etherx.jabber.org/streams'>", .invalidNamespace),
        ("<stream:stream to='verona.example' version='1.0' xmlns='jabber:client' xmlns:stream='http://wrong.example'>", .invalidNamespace),
        ("<stream xmlns='jabber:client' to='verona.example' version='1.0'>", .invalidNamespace),
        ("<stream:features to='verona.example' version='1.0' \(usual)>", .badFormat),
        ("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='verona.example' version='1.0'>", .badFormat),
    ])
    func faults(header: String, condition: StreamError.Condition) throws {
        #expect(try Self.fault(header) == condition)
    }
}

@Suite struct StreamErrorTests {
    static func written(_ error: StreamError) -> String {
        var writer = XMLWriter()
        error.write(to: &writer)
        return String(buffer: writer.buffer)
    }

    @Test("an error is its condition and an English text (RFC 6120 §4.9.2)")
    func wireForm() {
        #expect(Self.written(StreamError(.conflict)) == "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>")
        #expect(Self.written(StreamError(.policyViolation, "a < b")).contains("<text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='en'>a &lt; b</text>"))
        #expect(
            Self.written(.seeOtherHost("[2001:db8::1]:5222"))
                == "<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>[2001:db8::1]:5222</see-other-host></stream:error>")
    }

    @Test("every fault of XML has its stream error (RFC 6120 §4.9.3)", arguments: [
        (XMLError.notWellFormed, StreamError.Condition.notWellFormed), (.restrictedXML, .restrictedXML), (.unsupportedEncoding, .unsupportedEncoding),
        (.badNamespacePrefix, .badNamespacePrefix), (.textBetweenStanzas, .badFormat), (.limitExceeded(.depth), .policyViolation),
    ])
    func xmlErrors(error: XMLError, condition: StreamError.Condition) {
        #expect(StreamError(reporting: error).condition == condition)
    }
}
