import Foundation

/// What commands ask about reports (XEP-0377), and about block lists that others share.
package enum ReportOrder: Codable, Hashable, Sendable {
    /// A page, the latest first.
    case list(before: Int64?)
    case show(Int64)
    case delete([Int64])
    case blockLists
}

/// What an account has reported.
package struct ReportLine: Codable, Hashable, Sendable {
    package struct Text: Codable, Hashable, Sendable {
        package var language: String?
        package var text: String
        package init(language: String?, text: String) {
            self.language = language
            self.text = text
        }
    }

    /// A message, by the name that an archive has for it.
    package struct Message: Codable, Hashable, Sendable {
        package var id: String
        package var archive: String
        package init(id: String, archive: String) {
            self.id = id
            self.archive = archive
        }
    }

    package var id: Int64
    /// Milliseconds since 1970.
    package var time: Int64
    package var reporter: String
    package var reported: String
    package var reason: String
    package var texts: [Text] = []
    package var messages: [Message] = []
    /// Whether the reporter wants it told to the other server, and to others.
    package var mayGoToOrigin = false
    package var mayGoToOthers = false

    package init(id: Int64, time: Int64, reporter: String, reported: String, reason: String) {
        self.id = id
        self.time = time
        self.reporter = reporter
        self.reported = reported
        self.reason = reason
    }

    /// Without what all of them begin with.
    private var shortReason: String {
        let prefix = "urn:xmpp:reporting:"
        return ConfigurationProblem.printable(reason.hasPrefix(prefix) ? String(reason.dropFirst(prefix.count)) : reason)
    }

    /// As `martlet report list` prints it: one line, whatever is in it.
    package var text: String {
        let said = texts.first.map { "  \(ConfigurationProblem.printable($0.text.prefix(100)))" } ?? ""
        return "\(id)  \(Timestamp.text(time))  \(shortReason)  \(reported)  by \(reporter)\(said)"
    }

    /// As `martlet report show` prints it.
    package var lines: String {
        var fields = [("number", "\(id)"), ("came", Timestamp.text(time)), ("about", reported), ("by", reporter), ("reason", shortReason)]
        for text in texts { fields.append(("says", ConfigurationProblem.printable(text.text) + (text.language.map { " (\(ConfigurationProblem.printable($0)))" } ?? ""))) }
        for message in messages { fields.append(("message", "\(ConfigurationProblem.printable(message.id)) in the archive of \(message.archive)")) }
        if mayGoToOrigin { fields.append(("wants", "the other server to be told")) }
        if mayGoToOthers { fields.append(("wants", "others to be told who look after such reports")) }
        return fields.map { $0.0.padding(toLength: 10, withPad: " ", startingAt: 0) + $0.1 }.joined(separator: "\n")
    }
}

/// How a shared block list is doing.
package struct BlockListLine: Codable, Hashable, Sendable {
    package var service: String
    package var node: String
    /// `waiting`, `asking` or `following`; `stopped` while the server does not run.
    package var state: String
    package var entries: Int
    /// When all of it was fetched, in milliseconds since 1970.
    package var fetched: Int64?
    package var trouble: String?

    package init(service: String, node: String, state: String, entries: Int, fetched: Int64?, trouble: String? = nil) {
        self.service = service
        self.node = node
        self.state = state
        self.entries = entries
        self.fetched = fetched
        self.trouble = trouble
    }

    /// As `martlet report blocklists` prints it.
    package var text: String {
        let fetched = fetched.map { "fetched \(Timestamp.text($0))" } ?? "never fetched"
        let trouble = trouble.map { "  \(ConfigurationProblem.printable($0))" } ?? ""
        return "\(service)  \(ConfigurationProblem.printable(node))  \(state)  \(entries) \(entries == 1 ? "entry" : "entries")  \(fetched)\(trouble)"
    }
}
