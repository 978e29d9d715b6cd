import MartletXML
import MartletXMPP

/// What can be said of an account's presence in one line, for those who have no XMPP: directory clients and web pages (`directory.md` §4.3).
///
/// Of several sessions the most available one counts that takes messages, and of those the one of highest priority. All texts in it are an
/// account's own words made harmless: valid UTF-8 without control characters, of bounded length, never empty.
package struct PresenceSummary: Hashable, Sendable {
    /// From the most available to the least (RFC 6121 §4.7.2.1).
    package enum Show: String, Hashable, Sendable, CaseIterable, Comparable {
        case chat, available, away, xa, dnd, offline

        package static func < (a: Show, b: Show) -> Bool { a.rank < b.rank }

        private var rank: Int {
            switch self {
            case .chat: 5
            case .available: 4
            case .away: 3
            case .xa: 2
            case .dnd: 1
            case .offline: 0
            }
        }

        /// What people read who have said nothing else of themselves.
        package var word: String {
            switch self {
            case .chat: "free to chat"
            case .available: "available"
            case .away: "away"
            case .xa: "away for longer"
            case .dnd: "do not disturb"
            case .offline: "offline"
            }
        }
    }

    /// A status in one language (RFC 6121 §4.7.2.2).
    package struct Status: Hashable, Sendable {
        package var text: String
        /// A language tag of letters, digits and hyphens; `nil` if there is none.
        package var language: String?

        package init(_ text: String, language: String? = nil) {
            self.text = text
            self.language = language
        }
    }

    /// One available session.
    package struct Resource: Hashable, Sendable {
        package var name: String
        package var show: Show
        package var priority: Int8

        package init(_ name: String, _ show: Show, priority: Int8) {
            self.name = name
            self.show = show
            self.priority = priority
        }

        /// As `phone away 5`.
        package var line: String { "\(name) \(show.rawValue) \(priority)" }
    }

    /// Longest text, in bytes of UTF-8; the rest of a longer one is left out.
    package static let textBytesMax = 1_024
    /// Most languages of a status.
    package static let statusesMax = 8

    package var show = Show.offline
    package var statuses: [Status] = []
    package var priority: Int8?
    /// From the most available to the least.
    package var resources: [Resource] = []
    /// When it became so, or when the account was last there, in milliseconds since 1970; `nil` if that is not known.
    package var since: Int64?
    /// Since when nobody has touched the device, in milliseconds since 1970 (XEP-0319); `nil` if nothing was said of that.
    package var idleSince: Int64?

    package init() {}

    package var isOnline: Bool { show != .offline }

    /// One line for people: the status if there is one, else a word for how available the account is.
    package var text: String { (statuses.first { $0.language == nil } ?? statuses.first)?.text ?? show.word }

    /// As much of it as `level` allows; `nil` for nothing at all, which is not the same as being offline.
    package func limited(to level: PresenceLevel) -> PresenceSummary? {
        switch level {
        case .none: return nil
        case .basic:
            var summary = PresenceSummary()
            summary.show = show
            return summary
        case .full:
            var summary = self
            summary.resources = []
            return summary
        case .devices: return self
        }
    }
}

// MARK: Reading presence

extension PresenceSummary {
    /// - Parameter lastActivity: when the account was last there, for one that is not.
    init(_ sessions: [SessionEntry], lastActivity: LastActivity?) {
        let present = sessions.compactMap(PresentSession.init).sorted { $0.isMoreAvailable(than: $1) }
        resources = present.map { Resource($0.name, $0.show, priority: $0.priority) }
        guard let first = present.first(where: { $0.priority >= 0 }) else {
            setOffline(lastActivity)
            return
        }
        show = first.show
        priority = first.priority
        since = first.since
        statuses = Self.statuses(of: first.presence)
        idleSince = first.presence.element.root.firstChild("idle", .idle)?.attribute("since").flatMap { DateTime.milliseconds(of: $0) }
    }

    private mutating func setOffline(_ lastActivity: LastActivity?) {
        since = lastActivity?.time
        if let status = lastActivity?.status, let text = Self.line(status) { statuses = [Status(text)] }
    }

    private static func statuses(of presence: Stanza) -> [Status] {
        var statuses: [Status] = []
        let ofAll = presence.element.root.attribute("lang", .xml)
        for child in presence.element.root.children where child.isNamed("status", .client) {
            guard statuses.count < statusesMax else { break }
            let language = (child.attribute("lang", .xml) ?? ofAll).flatMap(languageTag)
            guard let text = line(child.text), !statuses.contains(where: { $0.language == language }) else { continue }
            statuses.append(Status(text, language: language))
        }
        return statuses
    }

    /// A text of somebody else's as one line, at most ``textBytesMax`` long; `nil` if nothing is left of it.
    ///
    /// Without what is no character, and without what turns the direction of what stands beside it.
    package static func line(_ text: String) -> String? {
        var line = String.UnicodeScalarView()
        var bytes = 0
        for scalar in text.unicodeScalars {
            guard let scalar = shown(scalar) else { continue }
            if line.isEmpty, scalar == " " { continue }
            bytes += UTF8.width(scalar)
            if bytes > textBytesMax { break }
            line.append(scalar)
        }
        while line.last == " " { line.removeLast() }
        return line.isEmpty ? nil : String(line)
    }

    private static func shown(_ scalar: Unicode.Scalar) -> Unicode.Scalar? {
        switch scalar {
        case "\t", "\n", "\r", "\u{85}", "\u{2028}", "\u{2029}": return " "
        case "\u{202A}"..."\u{202E}", "\u{2066}"..."\u{2069}", "\u{200E}", "\u{200F}", "\u{61C}": return nil
        default:
            switch scalar.properties.generalCategory {
            case .control, .surrogate, .unassigned, .privateUse: return nil
            default: return scalar
            }
        }
    }

    /// Longest language tag, in bytes (RFC 5646 §4.4.1).
    private static let languageBytesMax = 35

    private static func languageTag(_ text: String) -> String? {
        let isTag = !text.isEmpty && text.utf8.count <= languageBytesMax && text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "-"): true
            default: false
            }
        }
        return isTag ? text.lowercased() : nil
    }
}

extension Namespace {
    /// XEP-0319.
    fileprivate static let idle: Namespace = "urn:xmpp:idle:1"
}

/// A session that has said that it is there.
private struct PresentSession {
    let name: String
    let presence: Stanza
    let show: PresenceSummary.Show
    let priority: Int8
    let since: Int64?

    init?(_ entry: SessionEntry) {
        guard let presence = entry.presence else { return nil }
        self.presence = presence
        name = PresenceSummary.line(entry.address.resourcepart) ?? "?"
        show = Self.show(of: presence)
        priority = entry.priority
        since = entry.presentSince
    }

    func isMoreAvailable(than other: PresentSession) -> Bool {
        (show, priority, other.name) > (other.show, other.priority, name)
    }

    /// What is no value of `show` counts as none (RFC 6121 §4.7.2.1).
    private static func show(of presence: Stanza) -> PresenceSummary.Show {
        guard let text = presence.element.root.firstChild("show", .client)?.text else { return .available }
        switch text {
        case "chat": return .chat
        case "away": return .away
        case "xa": return .xa
        case "dnd": return .dnd
        default: return .available
        }
    }
}
