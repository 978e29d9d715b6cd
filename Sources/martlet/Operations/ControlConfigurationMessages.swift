/// What the running server goes by.
package struct ConfigurationReport: Codable, Hashable, Sendable {
    /// The part of it that is in a directory.
    package struct Tree: Codable, Hashable, Sendable {
        package enum Contact: String, Codable, Hashable, Sendable { case neverLoaded = "never-loaded", live, lost }

        package var base: String
        package var node: String?
        /// Of what is in force.
        package var version: Int64?
        package var entries: Int
        /// Since when it is in force, in milliseconds since 1970.
        package var since: Int64 = 0
        package var contact: Contact
        package var server: String?
        package var lostSince: Int64?
        /// Why it cannot be followed now.
        package var fault: String?
        /// Why what the directory says now is not in force.
        package var refusal: String?

        package init(base: String, entries: Int, contact: Contact) {
            self.base = base
            self.entries = entries
            self.contact = contact
        }
    }

    package var file: String
    /// `nil` where no directory is asked.
    package var tree: Tree?
    /// Changes that only a restart puts into force.
    package var needingRestart: [String]

    package init(file: String, tree: Tree?, needingRestart: [String]) {
        self.file = file
        self.tree = tree
        self.needingRestart = needingRestart
    }
}

extension ConfigurationReport {
    /// Whether all that is said is in force, or will be by a restart.
    package var isWell: Bool { tree.map { $0.contact == .live && $0.refusal == nil } ?? true }

    /// As `martlet config status` prints it.
    package var text: String {
        let waiting = needingRestart.map { "waits for a restart  \($0)" }
        return (["file       \(file)"] + (tree?.lines ?? []) + waiting).joined(separator: "\n")
    }
}

extension ConfigurationReport.Tree {
    fileprivate var lines: [String] {
        let state =
            switch contact {
            case .live: "followed" + (server.map { " at \($0)" } ?? "")
            case .neverLoaded: "not asked yet"
            case .lost: "lost" + (lostSince.map { " since \(Timestamp.text($0))" } ?? "") + (fault.map { ": \($0)" } ?? "")
            }
        let own = node.map { ", node \($0)" } ?? ""
        return [
            "directory  \(base)\(own): \(state)",
            "in force   version \(version.map(String.init) ?? "none"), \(entries.counted("entry", "entries")), since \(Timestamp.text(since))",
        ] + [refusal.map { "why it may not be what the directory says now:\n\($0)" }].compactMap(\.self)
    }
}

extension Int {
    fileprivate func counted(_ one: String, _ several: String) -> String { "\(self) \(self == 1 ? one : several)" }
}
