import MartletLDAP
import NIOCore

/// The first byte says how the rest is cut into pieces. It trusts nothing of the codec's answers:
///
/// - whole and in pieces, octets are the same messages and have the same fault;
/// - what was read as a message is read again as the same after it has been written, and so is each control whose value is understood;
/// - the outside of a message tells the same as all of it, and under another identifier nothing else of it changes.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzLDAP(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 1 else { return 0 }
    let bytes = Array(UnsafeBufferPointer(start: start + 1, count: count - 1))
    let whole = Reading(bytes, piece: bytes.count)
    precondition(Reading(bytes, piece: 1 + Int(start[0]) % 16) == whole, "the pieces matter")
    for octets in whole.messages {
        guard let envelope = try? LDAPEnvelope(octets) else {
            precondition((try? LDAPMessage(decoding: octets)) == nil, "what is no message outside is one inside")
            continue
        }
        guard let message = try? LDAPMessage(envelope) else { continue }
        precondition(envelope.id == message.id && envelope.kind == message.operation.kind, "the outside is another message's")
        check(message)
        checkRenumbered(envelope, message)
        for control in message.controls { check(control) }
        if case .intermediateResponse(let response) = message.operation { check(response) }
    }
    return 0
}

private struct Reading: Equatable {
    var messages: [ByteBuffer] = []
    var fault: LDAPFault?

    init(_ bytes: [UInt8], piece: Int) {
        var framing = LDAPFraming()
        do throws(LDAPFault) {
            for start in stride(from: 0, to: bytes.count, by: piece) {
                framing.take(ByteBuffer(bytes: bytes[start..<min(start + piece, bytes.count)]))
                while let message = try framing.next() { messages.append(message) }
                precondition(framing.pendingBytes < LDAPLimits.unauthenticatedMessageBytesMax, "more is waited for than a message can have")
            }
        } catch {
            fault = error
        }
    }
}

private func check(_ message: LDAPMessage) {
    var buffer = ByteBuffer()
    message.encode(into: &buffer)
    precondition((try? LDAPMessage(decoding: buffer)) == message, "what is written is another message")
}

private func checkRenumbered(_ envelope: LDAPEnvelope, _ message: LDAPMessage) {
    var buffer = ByteBuffer()
    envelope.write(id: Int32.max, into: &buffer)
    var expected = message
    expected.id = Int32.max
    // Only what is said unasked has no identifier.
    precondition((try? LDAPMessage(decoding: buffer)) == expected, "under another identifier it is another message")
}

private func check(_ control: LDAPControl) {
    let types: [any TypedControl.Type] = [
        PagedResultsControl.self, SyncRequestControl.self, SyncStateControl.self, SyncDoneControl.self, PersistentSearchControl.self,
        EntryChangeControl.self, PasswordPolicyResponseControl.self, AssertionControl.self, PreReadRequestControl.self, PreReadResponseControl.self,
        PostReadRequestControl.self, PostReadResponseControl.self, ProxiedAuthorizationControl.self, TransactionSpecificationControl.self,
    ]
    // Whatever its type is, lest the fuzzer have to find each.
    for type in types { check(type, control.value) }
}

private func check<Control: TypedControl>(_ type: Control.Type, _ value: [UInt8]?) {
    guard let control = try? Control(value: value) else { return }
    precondition((try? Control(value: control.value)) == control, "what is written is another control")
}

private func check(_ response: IntermediateResponse) {
    guard let info = try? SyncInfo(IntermediateResponse(name: SyncInfo.name, value: response.value)) else { return }
    precondition((try? SyncInfo(info.response)) == info, "what is written says something else")
}
