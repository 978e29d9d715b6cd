package import MartletLDAP
package import MartletXMPP
package import NIOCore

/// Why something that a directory was asked for was not done, in words for operators.
///
/// Only ``refused(_:)`` is the directory's own word. All the others mean that it was not asked or did not answer: whatever depended on it is unavailable,
/// never wrong and never allowed.
package enum DirectoryFailure: Error, Hashable, Sendable {
    /// The answer is another than success.
    case refused(LDAPResult)
    /// There is no connection; the system's words.
    case unreachable(String)
    /// TLS was in the way; the library's words, or ours.
    case insecure(String)
    /// What is secret would go in the clear.
    case unprotected(DirectoryAddress)
    /// Nothing came for so long.
    case timedOut(TimeAmount)
    /// The server has closed the connection, and may have said why before (RFC 4511 §4.4.1).
    case disconnected(LDAPResult?)
    /// What came is not what the protocol allows.
    case violation(LDAPViolation)
    /// We have closed the connection.
    case closed
    /// All servers have failed so often that they are left alone for a while.
    case resting
    /// A bind or StartTLS needs the connection for itself, and something else is under way on it (RFC 4511 §4.2.1, §4.14.1).
    case occupied
    /// As many as may be are under way or waiting.
    case tooMany
    /// A bind with an empty password proves nothing, and succeeds with some servers (RFC 4513 §5.1.2).
    case emptyPassword
    /// The same without a name.
    case emptyName
    /// The server has not proved that it knows the password's keys, or speaks another SCRAM.
    case scram(ScramClient.Fault)
    /// The server has ended a SASL exchange too early or too late.
    case exchange
    /// An attribute goes on and on (`member;range=…`).
    case endless(attribute: String)
}

/// What a server must not do: the connection is closed, since what it says next may mean anything.
package enum LDAPViolation: Error, Hashable, Sendable {
    /// Not a message, or too long a one.
    case malformed(LDAPFault)
    /// An answer of another kind than the question.
    case wrongAnswer(Int32)
    /// A request, which only clients make.
    case request
    /// With the identifier 0, and no notification (RFC 4511 §4.4).
    case unnamed
    /// In the clear, between the answer to StartTLS and the handshake: somebody on the way may have said it (RFC 4511 §4.14.2).
    case behindStartTLS
}

extension DirectoryFailure: CustomStringConvertible {
    package var description: String {
        switch self {
        case .refused(let result): "it refuses: \(result.words)"
        case .unreachable(let why): "it could not be reached: \(why)"
        case .insecure(let why): "no TLS: \(why)"
        case .unprotected(let address): "\(address) would carry passwords in the clear: let it be ldaps:, or set starttls to required"
        case .timedOut(let time): "no answer within \(time.nanoseconds / 1_000_000) ms"
        case .disconnected(nil): "it has closed the connection"
        case .disconnected(let result?): "it has closed the connection: \(result.words)"
        case .violation(let violation): "what came is no LDAP: \(violation)"
        case .closed: "the connection was closed"
        case .resting: "it has failed before, and is left alone for a while"
        case .occupied: "something else is under way on the connection"
        case .tooMany: "too much is under way"
        case .emptyPassword: "the password is empty"
        case .emptyName: "there is a password, but not whose it is"
        case .scram(let fault): "the server could not be authenticated: \(fault)"
        case .exchange: "the SASL exchange did not end as it should"
        case .endless(let attribute): "\(attribute) has more values than are taken"
        }
    }
}

extension LDAPViolation: CustomStringConvertible {
    package var description: String {
        switch self {
        case .malformed(let fault): "\(fault)"
        case .wrongAnswer(let id): "the answer to request \(id) is of another kind"
        case .request: "a server makes no requests"
        case .unnamed: "a message that answers nothing"
        case .behindStartTLS: "there is more in the clear behind the answer to StartTLS"
        }
    }
}

extension LDAPResult {
    /// What it says, for logs. The server's own words may hold anything: what is no plain text is left out, and they end somewhere.
    var words: String {
        let said = String(diagnosticMessage.unicodeScalars.lazy.map { $0.properties.generalCategory == .control ? " " : Character($0) }.prefix(256))
        return said.isEmpty ? "result \(code.rawValue)" : "result \(code.rawValue), \(said)"
    }
}
