import MartletCore
package import MartletXML
package import MartletXMPP
package import NIOCore

extension Namespace {
    package static let reporting: Namespace = "urn:xmpp:reporting:1"
}

/// What an account says of somebody as it blocks him (§4, §5): `<report xmlns='urn:xmpp:reporting:1'/>`.
package struct SpamReport: Hashable, Sendable {
    /// Longest reason, in bytes. A longer one is none.
    package static let reasonBytesMax = 256
    /// Texts of one report, in different languages; further ones are left out.
    package static let textsMax = 4
    /// Longest text, in bytes; the rest of a longer one is left out.
    package static let textBytesMax = 2_048
    /// Messages that one report names; further ones are left out.
    package static let messagesMax = 32
    /// Longest identifier of a message, in bytes; one with a longer one is left out.
    package static let messageIDBytesMax = 256
    /// Reports of one request; further ones are left out.
    package static let perRequestMax = 100

    package struct Text: Hashable, Sendable {
        package var language: String?
        package var text: String
    }

    /// A message, by the name that an archive has for it (XEP-0359).
    package struct Message: Hashable, Sendable {
        package var id: String
        package var archive: JID

        package init(id: String, archive: JID) {
            self.id = id
            self.archive = archive
        }
    }

    /// §4 names two; others may be registered (§10.3).
    package var reason: String
    package var texts: [Text] = []
    package var messages: [Message] = []
    /// Whether the one who reports wants it told to the server of the one who is reported, and to others (§4.1). This server does neither.
    package var mayGoToOrigin = false
    package var mayGoToOthers = false

    /// `nil` for what has no reason: it is no report, and does not keep anybody from being blocked (§5).
    package init?(_ element: ElementView) {
        guard let reason = element.attribute("reason"), !reason.isEmpty, reason.utf8.count <= Self.reasonBytesMax else { return nil }
        self.reason = reason
        for child in element.children {
            if child.isNamed("text", .reporting), texts.count < Self.textsMax {
                texts.append(Text(language: child.attribute("lang", .xml).map { Self.cut($0, Self.languageBytesMax) }, text: Self.cut(child.text, Self.textBytesMax)))
            } else if child.isNamed("stanza-id", .stanzaIDs), messages.count < Self.messagesMax, let message = Message(child) {
                messages.append(message)
            }
        }
        mayGoToOrigin = element.hasChild("report-origin", .reporting)
        mayGoToOthers = element.hasChild("third-party", .reporting)
    }

    private static let languageBytesMax = 64

    private static func cut(_ text: String, _ bytesMax: Int) -> String {
        var bytes = 0
        return String(text.prefix { character in
            bytes += character.utf8.count
            return bytes <= bytesMax
        })
    }

    /// As it is kept. It means the same as what came, but for what was left out.
    package func write(to writer: inout XMLWriter) {
        writer.element("report", .reporting, ["reason": reason]) { writer in
            for message in messages { writer.element("stanza-id", .stanzaIDs, ["by": message.archive.description, "id": message.id]) }
            for text in texts {
                writer.open("text", .reporting)
                writer.attribute("lang", .xml, text.language)
                writer.text(text.text)
                writer.close()
            }
            if mayGoToOrigin { writer.element("report-origin", .reporting) }
            if mayGoToOthers { writer.element("third-party", .reporting) }
        }
    }
}

extension SpamReport {
    /// Reads what is kept; `nil` if it is none.
    package init?(stored content: ByteBuffer) {
        guard let element = try? parseElement(content, limits: .ownWriting, defaultNamespace: .none) else { return nil }
        self.init(element.root)
    }

    /// The reports in a request that blocks, with those whom they are about. An item has one at most: the first that is one.
    static func inside(_ request: ElementView) -> [(reported: JID, report: SpamReport)] {
        var found: [(JID, SpamReport)] = []
        for item in request.children where item.isNamed("item", .blocking) {
            guard found.count < perRequestMax, let text = item.attribute("jid"), let address = try? JID(text) else { continue }
            let reports = item.children.filter { $0.isNamed("report", .reporting) }.compactMap { SpamReport($0) }
            if let report = reports.first { found.append((address, report)) }
        }
        return found
    }

    /// For the operator, from an account.
    func stored(about address: JID, by home: AccountHome, at time: Int64) -> StoredReport {
        var writer = XMLWriter(contentNamespace: .none)
        write(to: &writer)
        return StoredReport(time: time, account: home.id, reporter: home.address, reported: address, reason: reason, content: writer.buffer)
    }
}

extension SpamReport.Message {
    fileprivate init?(_ element: ElementView) {
        guard let id = element.attribute("id"), !id.isEmpty, id.utf8.count <= SpamReport.messageIDBytesMax,
            let archive = element.attribute("by").flatMap({ try? JID($0) })
        else { return nil }
        self.init(id: id, archive: archive)
    }
}
