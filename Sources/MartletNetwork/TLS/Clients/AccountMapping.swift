import Crypto
package import MartletXMPP
import SwiftASN1
import X509

/// Whose a client's certificate is: rules that are asked in order, until one names exactly one account that may come in (XEP-0178 §3).
package struct AccountMapping: Hashable, Sendable {
    package enum Rule: Hashable, Sendable {
        /// The address in `id-on-xmppAddr` (RFC 6120 §13.7.1.4).
        case xmppAddress
        /// The certificate itself is published as an account's.
        case published
        /// The mailbox in `rfc822Name`, if an authority has issued it that is believed about mailboxes.
        case mailbox
        /// The name in Microsoft's `userPrincipalName`.
        case principal
        /// A part of the subject, if the rest is as it should be.
        case subject(SubjectTemplate)
    }

    /// What a rule says: the accounts that it names, in the order of their addresses.
    package struct Proposal: Hashable, Sendable {
        package let rule: Rule
        package let accounts: [BareJID]

        package init(rule: Rule, accounts: [BareJID]) { (self.rule, self.accounts) = (rule, accounts) }
    }

    /// Most names of a certificate that are looked at, of whatever kind.
    package static let namesMax = 64
    /// Most accounts that a rule may name; of more, none is looked up.
    package static let accountsMax = 8

    package var rules: [Rule] = [.xmppAddress]
    /// Authorities that are believed about mailboxes, in DER. One of them has to be in the path.
    package var mailAuthorities: Set<[UInt8]> = []
    /// Whether a certificate has to be published as the account's whatever rule names that, so that it ends when it is taken away.
    package var needsPublished = false

    package init() {}

    /// What each rule that names anybody says, in order.
    ///
    /// - Parameter domain: accounts are of this domain, for which all authorities of the path have to be allowed to speak.
    package func proposals(_ trusted: TrustedCertificate, at domain: BareJID, _ published: PublishedCertificates) -> [Proposal] {
        guard let leaf = trusted.chain.first else { return [] }
        let names = ClientNames(leaf)
        return rules.compactMap { rule in
            let named =
                switch rule {
                case .xmppAddress: trusted.isAllowed(domain) ? Self.accounts(names.xmppAddresses, domain) : []
                case .published: Array(published.accounts(of: trusted.fingerprint).filter { $0.domain == domain })
                case .mailbox: trusted.isIssued(by: mailAuthorities) ? Self.accounts(names.mailboxes, domain) : []
                case .principal: trusted.isAllowed(domain) ? Self.accounts(names.principals, domain) : []
                case .subject(let template): template.localpart(in: leaf.subject).map { Self.account($0, domain) } ?? []
                }
            let accounts = Set(named).sorted { $0.description < $1.description }
            return accounts.isEmpty ? nil : Proposal(rule: rule, accounts: accounts)
        }
    }

    private static func accounts(_ addresses: [String], _ domain: BareJID) -> [BareJID] {
        addresses.compactMap { try? BareJID(parsing: $0) }.filter { !$0.isDomain && $0.domain == domain }
    }

    private static func account(_ localpart: String, _ domain: BareJID) -> [BareJID] {
        (try? BareJID(localpart: localpart, domainpart: domain.domainpart)).map { $0.isDomain ? [] : [$0] } ?? []
    }

    /// What is known about an account that a rule names.
    package enum Standing: Hashable, Sendable {
        case enabled, disabled, absent
        /// It cannot be found out now.
        case unavailable
    }

    /// The account for which the certificate stands.
    ///
    /// - Parameter standing: what is known about an account.
    package func account(
        _ proposals: [Proposal], of trusted: TrustedCertificate, _ published: PublishedCertificates, standing: (BareJID) -> Standing
    ) throws(MappingFault) -> BareJID {
        guard !proposals.isEmpty else { throw .namesNobody }
        var fault = MappingFault.noAccount(proposals.flatMap(\.accounts))
        for proposal in proposals {
            guard proposal.accounts.count <= Self.accountsMax else {
                fault = .several(proposal.accounts.count)
                continue
            }
            let standings = proposal.accounts.map(standing)
            // Another rule might name somebody else only because this one cannot be asked.
            guard !standings.contains(.unavailable) else { throw .unavailable }
            let enabled = zip(proposal.accounts, standings).filter { $0.1 == .enabled }.map(\.0)
            guard enabled.count <= 1 else {
                fault = .several(enabled.count)
                continue
            }
            guard let account = enabled.first else { continue }
            if needsPublished, !published.accounts(of: trusted.fingerprint).contains(account) { throw .unpublished(account) }
            return account
        }
        throw fault
    }
}

/// Why a certificate that is believed stands for no account, in words for the operator. The client is told nothing of it.
package enum MappingFault: Error, Hashable, Sendable, CustomStringConvertible {
    /// No rule finds a name of the domain in it.
    case namesNobody
    /// None of those is an account that may come in.
    case noAccount([BareJID])
    /// It stands for so many accounts.
    case several(Int)
    /// It is not published as that account's.
    case unpublished(BareJID)
    /// Accounts cannot be looked up now.
    case unavailable

    package var description: String {
        switch self {
        case .namesNobody: "no rule of client-certificates.mapping finds a name of the domain in it"
        case .noAccount(let accounts): "none of those that it names is an account that may come in: \(Self.quoted(accounts))"
        case .several(let count): "it stands for \(count) accounts, and has to stand for one"
        case .unpublished(let account): "it is not published as that of \(account)"
        case .unavailable: "accounts cannot be looked up now"
        }
    }

    private static func quoted(_ accounts: [BareJID]) -> String {
        accounts.prefix(AccountMapping.accountsMax).map { PeerCertificate.Name.printable($0.description) }.joined(separator: ", ")
    }
}

/// The names of people in a certificate (RFC 5280 §4.2.1.6).
struct ClientNames {
    private(set) var xmppAddresses: [String] = []
    private(set) var mailboxes: [String] = []
    private(set) var principals: [String] = []

    private static let xmppAddr: ASN1ObjectIdentifier = [1, 3, 6, 1, 5, 5, 7, 8, 5]
    private static let userPrincipalName: ASN1ObjectIdentifier = [1, 3, 6, 1, 4, 1, 311, 20, 2, 3]

    init(_ certificate: Certificate) {
        let names = (try? certificate.extensions.subjectAlternativeNames).map { Array($0.prefix(AccountMapping.namesMax)) } ?? []
        for name in names {
            switch name {
            case .rfc822Name(let mailbox): mailboxes.append(mailbox)
            case .otherName(let other):
                guard let text = other.value.flatMap({ try? ASN1UTF8String(asn1Any: $0) }).map({ String($0) }) else { continue }
                if other.typeID == Self.xmppAddr { xmppAddresses.append(text) }
                if other.typeID == Self.userPrincipalName { principals.append(text) }
            case .dnsName, .ipAddress, .x400Address, .directoryName, .ediPartyName, .uniformResourceIdentifier, .registeredID: break
            }
        }
    }
}

/// Which certificates are published as whose, by SHA-256.
package struct PublishedCertificates: Hashable, Sendable {
    private var accounts: [[UInt8]: Set<BareJID>] = [:]

    package init() {}

    /// - Parameter certificate: in DER.
    package mutating func publish(_ certificate: [UInt8], of account: BareJID) {
        accounts[Array(SHA256.hash(data: certificate)), default: []].insert(account)
    }

    package var count: Int { accounts.count }

    func accounts(of fingerprint: [UInt8]) -> Set<BareJID> { accounts[fingerprint] ?? [] }
}

extension TrustedCertificate {
    /// SHA-256 of the certificate itself.
    var fingerprint: [UInt8] { ownBytes.map { Array(SHA256.hash(data: $0)) } ?? [] }

    /// The certificate itself, in DER.
    var ownBytes: [UInt8]? { chain.first.flatMap { Self.bytes($0) } }

    /// Whether one of those, in DER, is above it.
    fileprivate func isIssued(by authorities: Set<[UInt8]>) -> Bool { issuers.contains { authorities.contains($0) } }

    private static func bytes(_ certificate: Certificate) -> [UInt8]? {
        var serializer = DER.Serializer()
        return (try? serializer.serialize(certificate)).map { serializer.serializedBytes }
    }
}
