import MartletCore
import MartletFeatures
import MartletStorage
import MartletXMPP

/// What operators do with invitations (XEP-0401): the same in a running server and on the data of one that does not run.
struct InvitationAdministration: Sendable {
    private let core: ServerCore
    private let configuration: ServerConfiguration

    init(_ core: ServerCore, _ configuration: ServerConfiguration) {
        self.core = core
        self.configuration = configuration
    }

    private var folder: String { configuration.server.dataFolder }
    private var domains: Set<String> { Set(configuration.domains.map(\.name)) }

    func answer(_ order: InvitationOrder, by: String) async throws(CommandFailure) -> ControlResponse {
        switch order {
        case .make(let wish): return try await make(wish, by: by)
        case .list(let domain, let after): return .invitations(try await page(domain, after).map(InvitationLine.init))
        case .revoke(let id):
            try await revoke(id, by: by)
            return .done
        }
    }

    // MARK: Making

    private func make(_ wish: InvitationOrder.Making, by: String) async throws(CommandFailure) -> ControlResponse {
        guard configuration.accounts.registration != .closed else {
            throw CommandFailure(
                .configuration, "nobody can make an account by an invitation while registration is closed", hint: "set accounts.registration to invited")
        }
        guard (1...InvitationLimits.usesMax).contains(wish.uses) else {
            throw CommandFailure(.usage, "an invitation has from 1 to \(InvitationLimits.usesMax) uses")
        }
        let domain = try domain(wish)
        let address = try await free(wish, at: domain)
        let contact = try await contact(wish, at: domain)
        var settings = InvitationSettings(configuration, at: domain.domainpart)
        if let seconds = wish.seconds {
            guard (1...InvitationLimits.secondsMax).contains(seconds) else { throw CommandFailure(.usage, "an invitation is good for a year at most") }
            settings.lifetime = seconds * 1000
        }
        let invitation = Invitation(
            at: domain, inviter: contact, localpart: address?.localpart, makesAccounts: true, uses: wish.uses, by: by, settings,
            now: core.time.wallMilliseconds, SystemRandom())
        try await commit(.create(invitation.stored, openMax: InvitationSettings.administratorsOpenMax))
        core.router.audit.record(.invited(domain, localpart: address?.localpart, contact: contact, by: by))
        return .invited(uri: invitation.link.uri, page: invitation.link.page, InvitationLine(invitation.stored))
    }

    private func domain(_ wish: InvitationOrder.Making) throws(CommandFailure) -> BareJID {
        let contacts = try wish.contact.map { text throws(CommandFailure) in try AccountAddress.hosted(text, domains).domainpart }
        let name = wish.domain ?? contacts ?? configuration.domains.first?.name ?? ""
        guard let domain = try? BareJID(parsing: name), domains.contains(domain.domainpart) else {
            throw CommandFailure(.data, "this server does not host \(name.prefix(200))", hint: "its domains: \(domains.sorted().prefix(10).joined(separator: ", "))")
        }
        return domain
    }

    private func free(_ wish: InvitationOrder.Making, at domain: BareJID) async throws(CommandFailure) -> BareJID? {
        guard let name = wish.name else { return nil }
        guard wish.uses == 1 else { throw CommandFailure(.usage, "one name is for one account: it goes with one use") }
        guard let address = try? BareJID(localpart: name, domainpart: domain.domainpart) else {
            throw CommandFailure(.data, "\(name.prefix(200)) cannot be a name")
        }
        guard try await !isThere(address) else { throw CommandFailure(.data, "the account exists: \(address)") }
        return address
    }

    private func contact(_ wish: InvitationOrder.Making, at domain: BareJID) async throws(CommandFailure) -> BareJID? {
        guard let text = wish.contact else { return nil }
        let contact = try AccountAddress.hosted(text, domains)
        guard contact.domainpart == domain.domainpart else { throw CommandFailure(.data, "\(contact) is not at \(domain)") }
        guard try await isThere(contact) else { throw CommandFailure(.noAccount, "there is no account \(contact)") }
        return contact
    }

    private func isThere(_ address: BareJID) async throws(CommandFailure) -> Bool {
        do throws(StoreError) { return try await core.store.credentials(of: address) != nil } catch { throw CommandFailure(error, in: folder) }
    }

    // MARK: Lists

    private func page(_ domain: String?, _ after: String?) async throws(CommandFailure) -> [StoredInvitation] {
        let last = try after.map { text throws(CommandFailure) in
            guard let key = InvitationKey(hexadecimal: text) else { throw CommandFailure(.data, "not an identifier: \(text.prefix(80))") }
            return key
        }
        do throws(StoreError) {
            return try await core.store.invitations(domain: domain, after: last, limit: ControlProtocol.accountsMax)
        } catch { throw CommandFailure(error, in: folder) }
    }

    private func revoke(_ id: String, by: String) async throws(CommandFailure) {
        guard id.utf8.count >= InvitationLimits.idDigitsMin else {
            throw CommandFailure(.usage, "an identifier has \(InvitationLimits.idDigitsMin) digits at least", hint: "martlet invite list shows them")
        }
        let found = try await named(id)
        guard let invitation = found.first else { throw CommandFailure(.data, "there is no invitation \(id.prefix(80))") }
        guard found.count == 1 else { throw CommandFailure(.data, "there are several invitations \(id.prefix(80)): give more of its digits") }
        try await commit(.revoke(invitation.key))
        core.router.audit.record(.invitationRevoked(domain: invitation.domain, by: by))
    }

    private func named(_ id: String) async throws(CommandFailure) -> [StoredInvitation] {
        var (found, last) = ([StoredInvitation](), String?.none)
        while true {
            let page = try await page(nil, last)
            found += page.filter { $0.key.hexadecimal.hasPrefix(id.lowercased()) }
            guard let end = page.last, page.count == ControlProtocol.accountsMax else { return found }
            last = end.key.hexadecimal
        }
    }

    private func commit(_ change: InvitationChange) async throws(CommandFailure) {
        do throws(StoreError) { try await core.store.commit([.invitation(change)]) } catch { throw CommandFailure(error, in: folder) }
    }
}

/// What operators may ask for.
enum InvitationLimits {
    /// Accounts that are made by one invitation, at most.
    static let usesMax = 10_000
    /// For how long one is good, at most.
    static let secondsMax: Int64 = 365 * 86_400
    /// Digits of an identifier that are needed to name one.
    static let idDigitsMin = 6
}

extension InvitationLine {
    fileprivate init(_ stored: StoredInvitation) {
        self.init(
            id: stored.key.hexadecimal, domain: stored.domain, name: stored.localpart, contact: stored.inviter?.description,
            makesAccounts: stored.makesAccounts, usesLeft: stored.usesLeft, creator: stored.creator, created: stored.created, expires: stored.expires)
    }
}

extension InvitationKey {
    fileprivate var hexadecimal: String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    fileprivate init?(hexadecimal text: String) {
        let digits = Array(text)
        guard digits.count == Self.byteCount * 2 else { return nil }
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard let byte = UInt8(String(digits[index...index + 1]), radix: 16) else { return nil }
            bytes.append(byte)
        }
        self.init(bytes: bytes)
    }
}
