package import NIOCore

/// A server that conversations are held with, and the way to it.
///
/// Everything is synchronous: a conversation is a script, and what it says happens in order. A transport in process
/// runs its server until nothing more can happen and then answers; a transport over a network waits, at most for its
/// own time limit.
package protocol ConversationTransport: AnyObject {
    /// The domain of the accounts.
    var domain: String { get }

    /// Whether `advance(by:)` works.
    var hasManualClock: Bool { get }

    func createAccount(localpart: String, password: String) throws(ConversationTransportError)

    /// A new connection, without TLS, on which SASL PLAIN is offered.
    func connect() throws(ConversationTransportError) -> any ConversationConnection

    /// Moves the clock and lets everything happen that is due.
    func advance(by duration: Duration) throws(ConversationTransportError)

    /// Whether `share(_:)` works.
    var sharesGroups: Bool { get }

    /// There are these groups from now on and no others, with addresses in place of names.
    func share(_ groups: [Conversation.Group]) throws(ConversationTransportError)
}

extension ConversationTransport {
    package var sharesGroups: Bool { false }
    package func share(_ groups: [Conversation.Group]) throws(ConversationTransportError) { throw .noGroups }
}

/// One connection; what is read on it is bytes.
package protocol ConversationConnection: AnyObject {
    /// What is sent to a server that has closed the connection is lost without an error.
    func send(_ bytes: ByteBuffer) throws(ConversationTransportError)

    func receive() throws(ConversationTransportError) -> ConversationInput

    /// Closes at once, without a word.
    func close()
}

/// What one attempt to read from a connection brought.
package enum ConversationInput: Hashable, Sendable {
    case bytes(ByteBuffer)
    /// The server has closed the connection.
    case closed
    /// Nothing came within the time limit, or, in process, nothing can come before the clock moves.
    case nothing
}

/// What the world did wrong while a conversation was held.
package enum ConversationTransportError: Error, Hashable, CustomStringConvertible {
    case system(call: String, number: Int32)
    case badAddress(String)
    case commandFailed(String, status: Int32)
    case noManualClock
    case noGroups

    package var description: String {
        switch self {
        case .system(let call, let number): "\(call) failed with error \(number)"
        case .badAddress(let text): "'\(text)' is no IP address"
        case .commandFailed(let command, let status): "'\(command)' ended with status \(status)"
        case .noManualClock: "the clock of this server cannot be moved"
        case .noGroups: "this server cannot be told of groups"
        }
    }
}
