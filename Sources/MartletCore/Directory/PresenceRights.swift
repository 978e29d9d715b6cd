package import MartletXMPP
package import NIOCore

/// How much of an account's presence somebody is shown who is not there by XMPP (`directory.md` §4.3).
package enum PresenceLevel: String, Hashable, Sendable, CaseIterable, Comparable {
    /// Nothing: not even whether there is an account.
    case none
    /// Whether it is there, and how available.
    case basic
    /// What it says of itself besides, and since when.
    case full
    /// Its devices as well.
    case devices

    package static func < (a: PresenceLevel, b: PresenceLevel) -> Bool { a.rank < b.rank }

    private var rank: Int {
        switch self {
        case .none: 0
        case .basic: 1
        case .full: 2
        case .devices: 3
        }
    }
}

/// Who asks for presence.
package enum PresenceViewer: Hashable, Sendable {
    case anonymous
    case account(BareJID)
    /// Whoever has proved who he is but is nobody's account, such as a mail server that has a name of its own in the directory.
    case service(String)

    /// - Parameter account: `nil` for whoever has not said who he is.
    package init(_ account: BareJID?) { self = account.map(PresenceViewer.account) ?? .anonymous }
}

/// Whom an account wants to be shown to by the directory. It only lowers what others may see.
package enum PresenceWish: String, Hashable, Sendable, CaseIterable {
    /// Nobody but the account itself.
    case none
    /// Those who see its presence by XMPP.
    case contacts
    /// Everybody whom the operator lets see it.
    case organisation
}

/// What an operator grants: some may see so much of the presence of some. ``PresenceLevel/none`` keeps what later rules would grant from them.
package struct PresenceRule: Hashable, Sendable {
    package enum Viewers: Hashable, Sendable {
        /// Whoever has proved who he is.
        case any
        case group(String)
        case service(String)
    }
    package enum Targets: Hashable, Sendable {
        case any
        case group(String)
    }

    package var viewers: Viewers
    package var targets: Targets
    package var level: PresenceLevel

    package init(_ viewers: Viewers, see targets: Targets = .any, _ level: PresenceLevel) {
        self.viewers = viewers
        self.targets = targets
        self.level = level
    }
}

/// Who may see whose presence without XMPP. A value of a domain's configuration.
///
/// An account may see all of its own, and as much as ``PresenceLevel/full`` of whoever lets it see his presence by XMPP. Rules of the operator add to
/// that, as far as the target wishes. Whoever has not said who he is sees nothing, nor does whoever is blocked.
package struct PresenceRights: Sendable {
    /// In order: the first that speaks for the viewer, about the target, decides alone.
    package var rules: [PresenceRule]
    /// What counts as the wish of an account that has none. With ``PresenceWish/contacts`` the rules are about those alone who have asked to be shown to
    /// more than their contacts; with ``PresenceWish/organisation``, about all who have not asked for less.
    package var defaultWish: PresenceWish
    /// Whether an account is in a group. In memory and quick: it is asked on event loops, never under a lock.
    package var isMember: @Sendable (_ account: BareJID, _ group: String) -> Bool

    /// - Parameter isMember: nobody is in a group that is not known.
    package init(
        rules: [PresenceRule] = [], defaultWish: PresenceWish = .contacts,
        isMember: @escaping @Sendable (_ account: BareJID, _ group: String) -> Bool = { _, _ in false }
    ) {
        self.rules = rules
        self.defaultWish = defaultWish
        self.isMember = isMember
    }

    /// The rules that speak for `viewer`.
    func rules(for viewer: PresenceViewer) -> [PresenceRule] {
        if viewer == .anonymous { return [] }
        return rules.filter { rule in
            switch (rule.viewers, viewer) {
            case (.any, _): true
            case (.group(let group), .account(let account)): isMember(account, group)
            case (.service(let name), .service(let viewer)): name == viewer
            case (.group, _), (.service, _): false
            }
        }
    }

    /// What rules that speak for the viewer grant of one target.
    ///
    /// - Parameter rules: those of ``rules(for:)``, looked up once for all targets.
    func granted(by rules: [PresenceRule], of target: BareJID) -> PresenceLevel {
        let deciding = rules.first { rule in
            switch rule.targets {
            case .any: true
            case .group(let group): isMember(target, group)
            }
        }
        return deciding?.level ?? .none
    }
}

extension DocumentKey {
    /// Where it is kept whom an account wants to be shown to by the directory: the value of ``PresenceWish``, as text.
    package static let directoryVisibility = DocumentKey(namespace: "urn:x-martlet:directory-visibility")
}

extension PresenceWish {
    /// - Parameter document: what is no wish counts as the narrowest one.
    package init(_ document: ByteBuffer) { self = PresenceWish(rawValue: String(buffer: document)) ?? .none }

    /// As it is kept.
    package var document: ByteBuffer { ByteBuffer(string: rawValue) }
}

extension AccountHome {
    /// How much `viewer` may see. Under the lock.
    ///
    /// - Parameter granted: what the operator's rules grant (``PresenceRights/granted(by:of:)``).
    func presenceLevel(for viewer: PresenceViewer, granted: PresenceLevel, defaultWish: PresenceWish) -> PresenceLevel {
        guard isResident, isEnabled else { return .none }
        let isContact: Bool
        switch viewer {
        case .anonymous: return .none
        case .account(address): return .devices
        case .account(let other):
            if blocks(.bare(other)) { return .none }
            isContact = roster.state(of: other).from
        case .service: isContact = false
        }
        switch documents.isEmpty ? defaultWish : documents.value(.directoryVisibility, PresenceWish.init) ?? defaultWish {
        case .none: return .none
        case .contacts: return isContact ? max(.full, granted) : .none
        case .organisation: return isContact ? max(.full, granted) : granted
        }
    }

    /// As much of the account's presence as `viewer` may see; `nil` for nothing. Under the lock.
    func presence(for viewer: PresenceViewer, granted: PresenceLevel, defaultWish: PresenceWish) -> PresenceSummary? {
        let level = presenceLevel(for: viewer, granted: granted, defaultWish: defaultWish)
        return level == .none ? nil : PresenceSummary(sessions, lastActivity: lastActivity).limited(to: level)
    }
}
