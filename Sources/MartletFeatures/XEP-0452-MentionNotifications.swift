import MartletCore
package import MartletXML
import MartletXMPP

extension Namespace {
    package static let mentionNotices: Namespace = "urn:xmpp:mmn:0"
    /// XEP-0372.
    fileprivate static let references: Namespace = "urn:xmpp:reference:0"
}

/// Members who are not in the room get what is said there forwarded: what mentions them, or everything, as the room has it
/// (`muc#roomconfig_membernotices`) or as they want it themselves (``MemberNotices``).
///
/// The XEP knows mentions only, by references. Here a reserved nickname in the text is one too, as people write it. A notice is a message from
/// the room to the account, which does with it what it does with messages; nobody waits for it, and what comes back for it is of no interest.
enum MentionNotifications {
    static let specification = Specification.xep(
        452, "MUC Mention Notifications", version: "0.2.2", note: "also by a reserved nickname in the text; members may want all messages, or none")

    /// References of one message that are looked at.
    static let referencesMax = 32
    /// So much of a text is searched for nicknames, in bytes.
    static let textBytesMax = 1_024
    /// Words of a nickname that is found in a text. A longer one is only found by references.
    static let wordsMax = 3

    /// What may be a nickname in a text, folded: every word and every few words, with what stands around them and without.
    ///
    /// - Parameter count: words of a nickname, at most.
    static func phrases(in text: String, words count: Int) -> [String] {
        let text = RoomNickname.folded(String(decoding: text.utf8.prefix(textBytesMax), as: UTF8.self))
        let words = text.split(separator: " ")
        return words.indices.flatMap { first in
            words[first...].prefix(min(count, wordsMax)).flatMap { last in variants(of: text[words[first].startIndex..<last.endIndex]) }
        }
    }

    private static func variants(of phrase: Substring) -> [String] {
        let scalars = phrase.unicodeScalars
        guard let first = scalars.firstIndex(where: isPart), let last = scalars.lastIndex(where: isPart) else { return [String(phrase)] }
        let end = scalars.index(after: last)
        if first == phrase.startIndex, end == phrase.endIndex { return [String(phrase)] }
        return [String(phrase), String(phrase[first...]), String(phrase[..<end]), String(phrase[first..<end])]
    }

    /// Whether something is part of a word.
    private static func isPart(_ scalar: Unicode.Scalar) -> Bool {
        guard scalar.isASCII else { return scalar.properties.isAlphabetic || scalar.properties.numericType != nil }
        return ("a"..."z").contains(scalar) || ("0"..."9").contains(scalar)
    }

    /// Whom a reference is to (XEP-0372 §3.2): the address in an `xmpp` URI.
    static func address(in uri: String) -> JID? {
        guard uri.utf8.count > 5, uri.prefix(5).lowercased() == "xmpp:" else { return nil }
        let path = uri.dropFirst(5).prefix { $0 != "?" && $0 != "#" }
        return decoded(path.utf8).flatMap { try? JID($0) }
    }

    /// RFC 3986 §2.1.
    private static func decoded(_ text: Substring.UTF8View) -> String? {
        var bytes: [UInt8] = []
        var rest = text[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else { bytes.append(byte); continue }
            guard let high = rest.popFirst().flatMap(digit), let low = rest.popFirst().flatMap(digit) else { return nil }
            bytes.append(high << 4 | low)
        }
        return String(validating: bytes, as: UTF8.self)
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x41 + 10
        case 0x61...0x66: byte - 0x61 + 10
        default: nil
        }
    }
}

extension Room {
    /// Forwards what was said to members who are not here.
    ///
    /// - Parameter said: as occupants get it.
    func notifyAbsent(of said: Stanza, _ moment: RoomMoment, _ effects: inout RoomEffects) {
        guard configuration.memberNotices != .nothing || !affiliations.choosers.isEmpty else { return }
        let root = said.element.root
        guard PushSummary.isWorthTelling(root) else { return }
        let recipients = recipientsOfNotice(of: root, max: moment.limits.noticesMax)
        guard !recipients.isEmpty else { return }
        var message = said
        message.to = .bare(address)
        let encoded = StanzaBuilder.message(.normal, from: .bare(address), to: nil, id: moment.random.token()) { writer in
            writer.element("mentions", .mentionNotices) { $0.forwarded(message, since: moment.now) }
        }
        let notice = encoded.asStanza
        for recipient in recipients { effects.actions.append(.notify(notice, to: recipient)) }
    }

    /// Those who are mentioned come first.
    private func recipientsOfNotice(of message: ElementView, max: Int) -> Set<BareJID> {
        var recipients: Set<BareJID> = []
        for account in mentioned(in: message) where recipients.count < max && occupants.keys(ofAccount: account).isEmpty {
            if notices(for: affiliations[.bare(account)]) != .nothing { recipients.insert(account) }
        }
        for account in occupants.absentees.listeners {
            guard recipients.count < max else { break }
            recipients.insert(account)
        }
        return recipients
    }

    private func mentioned(in message: ElementView) -> [BareJID] {
        var accounts = message.children.lazy.filter { $0.isNamed("reference", .references) }.prefix(MentionNotifications.referencesMax).compactMap {
            $0.attributeEquals("type", "mention") ? $0.attribute("uri").flatMap(MentionNotifications.address).flatMap(account) : nil
        }
        // Nobody looks for the names of those who are all here.
        if occupants.absentees.namedCount > 0, let body = message.firstChild("body", .client) {
            accounts += MentionNotifications.phrases(in: body.text, words: affiliations.nicknameWordsMax)
                .compactMap { affiliations.owner(ofFoldedNickname: $0) }
        }
        return accounts
    }

    /// Whose an address is: an account's own, or that of a nickname in this room.
    private func account(of mentioned: JID) -> BareJID? {
        guard mentioned.bare == address else { return mentioned.bare }
        return mentioned.resourcepart.flatMap { affiliations.owner(ofNickname: $0) }
    }

    // MARK: Who wants what

    /// What a member is told of while he is not here; others, nothing.
    private func notices(for entry: RoomAffiliations.Entry?) -> RoomConfiguration.MemberNotices {
        guard let entry, entry.affiliation >= .member else { return .nothing }
        return entry.details.notices ?? configuration.memberNotices
    }

    private func wish(of entry: RoomAffiliations.Entry?) -> RoomAbsentees.Wish {
        let notices = notices(for: entry)
        var wish: RoomAbsentees.Wish = []
        if notices == .all { wish.insert(.everything) }
        if notices != .nothing, entry?.nickname != nil { wish.insert(.name) }
        return wish
    }

    /// What an account is to be told of may have changed.
    mutating func reviewNotices(for account: BareJID) { occupants.setWish(wish(of: affiliations[.bare(account)]), of: account) }

    /// The same for everybody.
    mutating func reviewAllNotices() { occupants.setWishes(wishes) }

    private var wishes: [(BareJID, RoomAbsentees.Wish)] {
        var wishes: [(BareJID, RoomAbsentees.Wish)] = []
        func note(_ address: JID, _ entry: RoomAffiliations.Entry?) {
            let wish = wish(of: entry)
            if !wish.isEmpty { wishes.append((address.bare, wish)) }
        }
        if configuration.memberNotices != .nothing { affiliations.forEach { note($0, $1) } }
        else { for address in affiliations.choosers { note(address, affiliations[address]) } }
        return wishes
    }
}

/// Who is to be told what is said while he is not in the room. Kept as people come and go, so that nobody looks through all members when
/// something is said.
package struct RoomAbsentees: Sendable {
    struct Wish: OptionSet, Hashable, Sendable {
        let rawValue: UInt8
        /// To hear of every message.
        static let everything = Wish(rawValue: 1)
        /// To hear when the reserved nickname is called.
        static let name = Wish(rawValue: 2)
    }

    private var wishes: [BareJID: Wish] = [:]
    /// Those who are away and want everything.
    private(set) var listeners: Set<BareJID> = []
    /// How many are away and want to hear their names.
    private(set) var namedCount = 0

    mutating func reserveCapacity(_ count: Int) { wishes.reserveCapacity(count) }

    mutating func set(_ wish: Wish, of account: BareJID, isHere: Bool) {
        if !isHere { came(account) }
        wishes[account] = wish.isEmpty ? nil : wish
        if !isHere { went(account) }
    }

    mutating func came(_ account: BareJID) {
        guard let wish = wishes[account] else { return }
        if wish.contains(.everything) { listeners.remove(account) }
        if wish.contains(.name) { namedCount -= 1 }
    }

    mutating func went(_ account: BareJID) {
        guard let wish = wishes[account] else { return }
        if wish.contains(.everything) { listeners.insert(account) }
        if wish.contains(.name) { namedCount += 1 }
    }
}
