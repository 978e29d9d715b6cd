import MartletXML
import MartletXMPP
import NIOCore

/// Feeds both sides of a stream between servers what the other side might say: the first byte chooses the policy, the rest is the stream.
///
/// Beyond not trapping: nobody is believed without a valid certificate or an answer to a question that was asked, nothing is delivered
/// that was not proved, and dialback elements that are read are written as what they were.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzPeer(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let input = UnsafeBufferPointer(start: start, count: count)
    guard let choice = input.first else { return 0 }
    let bytes = ByteBuffer(bytes: input.dropFirst())
    fuzzIncoming(bytes, Surroundings(choice: choice))
    fuzzOutgoing(bytes, Surroundings(choice: choice))
    return 0
}

private struct Surroundings: IncomingPeerEnvironment, OutgoingPeerEnvironment {
    let choice: UInt8

    var policy: PeerPolicy {
        PeerPolicy(
            refusal: choice & 1 == 0 ? nil : "no", requiresEncryption: choice & 2 == 0,
            authentication: choice & 4 == 0 ? .certificate : .dialback, bidirection: choice & 8 == 0 ? .ask : choice & 128 == 0 ? .accept : .off)
    }
    var certificate: CertificateVerdict { choice & 16 == 0 ? .absent : .invalid("no") }
    var hasCertificate: Bool { choice & 32 == 0 }
    var isSecure: Bool { choice & 64 == 0 }
    var defaultDomain: String { "capulet.example" }
    var offersManagement: Bool { true }
    var limits: PeerFeatures.Limits { .init(bytesMax: 10_000) }
    func serves(_ domain: String) -> Bool { domain == "capulet.example" }
    func canStartTLS(for domain: String) -> Bool { true }
    func streamID() -> String { "id" }
    func policy(of remote: String) -> PeerPolicy { policy }
    func certificate(for remote: String) -> CertificateVerdict { certificate }
    func isWorthLooking(for remote: String) -> Bool { true }
    func isOurs(_ request: DialbackElement) -> Bool { false }
}

private func events(of bytes: ByteBuffer, _ take: (XMLStreamEvent) -> Bool) {
    var parser = XMLStreamParser(limits: .unauthenticated, contentNamespace: .server)
    var bytes = bytes
    while let event = try? parser.next(from: &bytes) {
        if case .element(let element) = event, let said = try? DialbackElement(element) { checkRewriting(said) }
        guard take(event) else { return }
    }
}

private func fuzzIncoming(_ bytes: ByteBuffer, _ surroundings: Surroundings) {
    var machine = IncomingPeerMachine(isSecure: surroundings.isSecure)
    events(of: bytes) { event in
        var action =
            switch event {
            case .opened(let header): machine.opened(header, surroundings)
            case .element(let element): machine.received(element, surroundings)
            case .closed: machine.peerClosed()
            }
        if case .look = action {
            precondition(surroundings.isSecure && surroundings.certificate != .absent && machine.isWaiting)
            action = machine.looked(surroundings)
            precondition(!machine.isWaiting)
        }
        switch action {
        case .deliver, .succeed, .accept: preconditionFailure("nothing was proved")
        case .verify(let request, _):
            precondition(surroundings.policy.authentication == .dialback && surroundings.policy.refusal == nil)
            _ = machine.verified(request, .error(.remoteServerTimeout))
        case .close(_, .some), .open: break
        default: break
        }
        precondition(machine.pairs.isEmpty)
        return !machine.isWaiting && !machine.isClosed
    }
}

private func fuzzOutgoing(_ bytes: ByteBuffer, _ surroundings: Surroundings) {
    let pair = DomainPair(remote: "montague.example", local: "capulet.example")
    for purpose in [OutgoingPeerMachine.Purpose.stanzas, .verification] {
        var machine = OutgoingPeerMachine(pair, purpose, isSecure: surroundings.isSecure)
        events(of: bytes) { event in
            let action =
                switch event {
                case .opened(let header): machine.opened(header, surroundings)
                case .element(let element): machine.received(element, surroundings)
                case .closed: machine.peerClosed()
                }
            switch action {
            case .begin, .sendKey, .authenticate, .ask:
                precondition(surroundings.policy.authentication == .dialback, "no certificate was good")
                precondition(surroundings.isSecure || !surroundings.policy.requiresEncryption, "in clear")
            default: break
            }
            return !machine.isWaiting && !machine.isEnding
        }
    }
}

private func checkRewriting(_ said: DialbackElement) {
    var writer = XMLWriter()
    PeerStreamHeader(from: said.from, to: said.to).write(to: &writer)
    said.write(to: &writer)
    var parser = XMLStreamParser(limits: .authenticated, contentNamespace: .server)
    var bytes = writer.buffer
    guard case .opened? = try? parser.next(from: &bytes), case .element(let again)? = try? parser.next(from: &bytes), let read = try? DialbackElement(again)
    else { preconditionFailure("what is written cannot be read") }
    precondition(read == said)
}
