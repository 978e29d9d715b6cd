import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("a component's stream (XEP-0114)")
struct ComponentStreamMachineTests {
    private struct World: ComponentStreamEnvironment {
        func secret(of component: String) -> [UInt8]? { component == "plays.example" ? Array("secret".utf8) : nil }
        func streamID() -> String { "3BF96D32" }
    }
    private let world = World()
    /// SHA-1 over `3BF96D32secret`.
    private static let proof = "b09ea9b3b7f586be8a08d0a3dd7466f110aeb136"

    private func header(_ attributes: String, namespace: String = "jabber:component:accept") throws -> FlatElement {
        try parseElement(
            ByteBuffer(string: "<stream:stream xmlns='\(namespace)' xmlns:stream='http://etherx.jabber.org/streams' \(attributes)/>"), limits: .authenticated)
    }

    private func element(_ xml: String) throws -> FlatElement { try parseElement(ByteBuffer(string: xml), limits: .authenticated) }

    private func opened() throws -> ComponentStreamMachine {
        var machine = ComponentStreamMachine()
        guard case .open = machine.opened(try header("to='plays.example'"), world) else { throw StreamError(.undefinedCondition) }
        return machine
    }

    private func condition(_ action: ComponentStreamMachine.Action) -> StreamError.Condition? {
        if case .close(let error, _) = action { error?.condition } else { nil }
    }

    @Test("the header is answered in the component's name with an id, and the right handshake with an empty one (§3)")
    func accepted() throws {
        var machine = ComponentStreamMachine()
        let answer = machine.opened(try header("to='Plays.example'"), world)
        var writer = XMLWriter()
        answer.write(to: &writer)
        #expect(
            String(buffer: writer.buffer) == "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' "
                + "xmlns:stream='http://etherx.jabber.org/streams' from='plays.example' id='3BF96D32'>")
        #expect(machine.component == nil)
        #expect(machine.received(try element("<handshake>\(Self.proof)</handshake>"), world) == .decide(component: "plays.example"))
        #expect(machine.isDeciding)
        #expect(machine.decided() == .accept(component: "plays.example"))
        #expect(machine.component == "plays.example")
        #expect(machine.received(try element("<message/>"), world) == .deliver)
    }

    private static let claims: [(String, Bool)] = {
        let shorter = String(proof.dropLast())
        let right = [proof, proof.uppercased()]
        let wrong = [shorter, shorter + "7", proof + "0", "", "a\(proof.dropFirst())", String(repeating: "é", count: 20)]
        return right.map { ($0, true) } + wrong.map { ($0, false) }
    }()

    @Test("digits in upper case are taken as well, and nothing else", arguments: claims)
    func proofs(_ claim: String, _ isRight: Bool) throws {
        var machine = try opened()
        _ = machine.received(try element("<handshake>\(claim)</handshake>"), world)
        let answer = machine.decided()
        if isRight { #expect(answer == .accept(component: "plays.example")) } else { #expect(condition(answer) == .notAuthorized) }
        #expect(machine.isEnding == !isRight)
    }

    @Test("a name that nobody has ends the stream with host-unknown, behind a header (RFC 6120 §4.9.1.2)", arguments: ["other.example", "romeo@plays.example", ""])
    func unknown(_ name: String) throws {
        var machine = ComponentStreamMachine()
        let answer = machine.opened(try header("to='\(name)'"), world)
        guard case .close(let error, let header) = answer else { return #expect(Bool(false), "\(answer)") }
        #expect(error?.condition == .hostUnknown && header?.id == "3BF96D32")
    }

    @Test("a header without 'to', of a client or of a server, is refused")
    func headers() throws {
        var machine = ComponentStreamMachine()
        #expect(condition(machine.opened(try header(""), world)) == .improperAddressing)
        for namespace in ["jabber:client", "jabber:server", "jabber:component:connect"] {
            machine = ComponentStreamMachine()
            #expect(condition(machine.opened(try header("to='plays.example'", namespace: namespace), world)) == .invalidNamespace)
        }
    }

    @Test("before the handshake nothing else counts, and while it is decided nothing is looked at")
    func early() throws {
        var machine = try opened()
        #expect(condition(machine.received(try element("<message/>"), world)) == .notAuthorized)
        machine = try opened()
        _ = machine.received(try element("<handshake>\(Self.proof)</handshake>"), world)
        #expect(machine.received(try element("<message/>"), world) == .wait)
    }

    @Test("either side ends the stream once")
    func ends() throws {
        var machine = try opened()
        #expect(machine.end(StreamError(.systemShutdown), world) == .close(StreamError(.systemShutdown), nil))
        #expect(machine.end(StreamError(.systemShutdown), world) == .wait)
        #expect(machine.peerClosed() == .finish(sendsEnd: false))
        machine = try opened()
        #expect(machine.peerClosed() == .finish(sendsEnd: true))
        #expect(machine.end(nil, world) == .wait)
    }
}
