#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// What an authority says that something is wrong (RFC 7807, RFC 8555 §6.7).
package struct ACMEProblem: Hashable, Sendable, Decodable, CustomStringConvertible {
    package var type: String?
    package var detail: String?
    /// About single names.
    package var subproblems: [Subproblem]?

    package struct Subproblem: Hashable, Sendable, Decodable {
        package var type: String?
        package var detail: String?
    }

    private static let prefix = "urn:ietf:params:acme:error:"
    /// Longest text that is passed on, in characters, and most subproblems.
    private static let charactersMax = 500
    private static let subproblemsMax = 5

    /// The last part of the type; empty for one that is not ACME's.
    package var name: String { type.flatMap { $0.hasPrefix(Self.prefix) ? String($0.dropFirst(Self.prefix.count)) : nil } ?? "" }

    package var description: String {
        let parts = [detail ?? type ?? "it does not say what"] + (subproblems ?? []).prefix(Self.subproblemsMax).compactMap(\.detail)
        return PeerCertificate.Name.printable(String(parts.joined(separator: "; ").prefix(Self.charactersMax)))
    }
}

/// Where an authority does what (RFC 8555 §7.1.1).
struct ACMEDirectory: Decodable {
    struct Meta: Decodable {
        var termsOfService: String?
        var externalAccountRequired: Bool?
    }
    var newNonce: String
    var newAccount: String
    var newOrder: String
    /// RFC 9773 §4.1.
    var renewalInfo: String?
    var meta: Meta?
}

/// An account (RFC 8555 §7.1.2).
struct ACMEAccount: Decodable {
    var status: String
    var contact: [String]?
}

/// An order for a certificate (RFC 8555 §7.1.3).
struct ACMEOrder: Decodable {
    enum Status: String, Decodable { case pending, ready, processing, valid, invalid }
    var status: Status
    var authorizations: [String]
    var finalize: String
    var certificate: String?
    var error: ACMEProblem?
}

/// Whether we may have a certificate for a name (RFC 8555 §7.1.4).
struct ACMEAuthorization: Decodable {
    enum Status: String, Decodable { case pending, valid, invalid, deactivated, expired, revoked }
    struct Identifier: Decodable { var value: String }
    struct Challenge: Decodable {
        var type: String
        var url: String
        var token: String?
        var error: ACMEProblem?
    }
    var status: Status
    var identifier: Identifier
    var challenges: [Challenge]

    /// The one that is answered by HTTP (RFC 8555 §8.3).
    var byHTTP: Challenge? { challenges.first { $0.type == "http-01" } }
}

/// When it would like to be asked for another certificate (RFC 9773 §4.2).
struct ACMERenewalInfo: Decodable {
    struct Window: Decodable {
        var start: String
        var end: String
    }
    var suggestedWindow: Window
}

/// Why an authority has not given a certificate.
package enum ACMEError: Error, Hashable, Sendable, CustomStringConvertible {
    case unreachable(String, HTTPFetchError)
    /// It sends on to another host than its own, or says no URL.
    case elsewhere(String)
    /// What it says is not understood.
    case malformed(String)
    /// It refuses something, and may say after how many seconds it does so no more.
    case refused(ACMEProblem, status: Int, retryAfter: Int?)
    /// It takes none of the numbers that it gives.
    case nonces
    case noChallenge(String)
    /// It could not see that a name is ours.
    case unproved(String, ACMEProblem?)
    case failed(ACMEProblem?)
    /// It has not come to an end with something in time.
    case unfinished(String)
    /// It has issued something else than what it was asked for.
    case wrongCertificate(String)

    package var description: String {
        switch self {
        case .unreachable(let place, let error): "\(place): \(error)"
        case .elsewhere(let place): "it sends on to another host, which is not asked: \(PeerCertificate.Name.printable(place))"
        case .malformed(let what): "its answer is not understood: \(what)"
        case .refused(let problem, let status, _): "it refuses with status \(status): \(problem)"
        case .nonces: "it does not take the nonces that it gives"
        case .noChallenge(let name): "it does not offer to look by HTTP whether \(name) is ours (http-01)"
        case .unproved(let name, let problem): "it could not see that \(name) is ours" + (problem.map { ": \($0)" } ?? "")
        case .failed(let problem): "the order has failed" + (problem.map { ": \($0)" } ?? "")
        case .unfinished(let what): "\(what) takes too long"
        case .wrongCertificate(let why): "what it has issued is of no use: \(why)"
        }
    }

    /// What an operator can do about it.
    package var advice: String {
        switch self {
        case .unreachable: "see that this machine may connect there (acme.directory), and that the authority's own certificate is trusted here (acme.trust-anchors)"
        case .elsewhere, .malformed, .nonces: "see whether acme.directory is the URL of an ACME directory, and whether the authority says that something is wrong with it"
        case .noChallenge: "use another authority, or get this domain's certificate by other means"
        case .unproved(let name, _):
            "have http://\(name)/.well-known/acme-challenge/ lead to this server from outside: an address of this machine in DNS, and port 80 let through to acme.port"
        case .failed, .unfinished, .wrongCertificate: "it is tried again by itself; if it stays so, ask the authority"
        case .refused(let problem, _, _):
            switch problem.name {
            case "rateLimited": "wait: the authority limits how often it is asked, and says when it can be asked again"
            case "externalAccountRequired": "get a key from the authority as its customer, and name it (acme.external-account)"
            case "userActionRequired": "read what the authority has to say, and agree to its new terms there"
            case "invalidContact", "unsupportedContact": "correct acme.contacts"
            case "caa": "let the domain's CAA records name this authority"
            case "rejectedIdentifier", "unsupportedIdentifier": "take the name out of acme.domains: the authority issues nothing for it"
            case "dns", "connection", "unauthorized": "see that the domain's DNS records lead to this machine, and that port 80 is let through to acme.port"
            default: "see what the authority says about this"
            }
        }
    }

    /// Seconds before which nothing is to be asked again.
    package var retryAfter: Int? { if case .refused(_, _, let seconds) = self { seconds } else { nil } }
}
