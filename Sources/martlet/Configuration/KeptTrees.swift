import Foundation
package import MartletLDAP

/// What a directory has said and was put into force, kept in the data folder: the last of it serves when the directory cannot be asked at a start.
package struct KeptTrees: Sendable {
    /// States that are kept beside the last one.
    package static let countMax = 20
    /// Longest file that is read, in bytes. In base64 and with the names of attributes a tree is not much longer than in memory.
    package static let bytesMax = 64 << 20

    package let folder: String

    package init(dataFolder: String) { folder = dataFolder + "/configuration" }

    private static let lastName = "current.ldif"
    private var last: String { "\(folder)/\(Self.lastName)" }

    /// What was in force last; `nil` if nothing ever was, or it was another tree.
    package func latest(_ section: ServerConfiguration.ConfigurationDirectory) throws(CommandFailure) -> ConfigurationTree? {
        guard let base = section.tree, PrivateFiles.exists(last) else { return nil }
        let tree = try ConfigurationTree(ldif: try PrivateFiles.read(last, bytesMax: Self.bytesMax), of: last, base: base, node: section.node)
        return tree.root == nil ? nil : tree
    }

    /// Keeps one under the number of its version.
    package func keep(_ tree: ConfigurationTree) throws(CommandFailure) {
        let bytes = Array(tree.ldif.utf8)
        if PrivateFiles.exists(last), try PrivateFiles.read(last, bytesMax: Self.bytesMax) == bytes { return }
        try PrivateFiles.makeFolder(folder)
        try PrivateFiles.write(bytes, to: "\(folder)/\(Self.name(of: tree.version, among: Set(files.map(\.name))))")
        try PrivateFiles.write(bytes, to: last)
        for name in Self.surplus(files) { try PrivateFiles.remove("\(folder)/\(name)") }
    }

    /// `17.ldif`; `17.2.ldif` if something else was version 17 before.
    package static func name(of version: Int64?, among taken: Set<String>) -> String {
        let number = "\(version ?? 0)"
        let others = (2...).lazy.map { "\(number).\($0).ldif" }
        return taken.contains("\(number).ldif") ? others.first { !taken.contains($0) } ?? "\(number).ldif" : "\(number).ldif"
    }

    package struct File: Hashable, Sendable {
        package let name: String
        /// When it was written, in seconds of whatever clock.
        package let written: Double

        package init(name: String, written: Double) {
            self.name = name
            self.written = written
        }
    }

    /// The names of those that are one too many, the oldest of all.
    package static func surplus(_ files: [File]) -> [String] {
        files.sorted { ($0.written, $0.name) > ($1.written, $1.name) }.dropFirst(countMax).map(\.name)
    }

    private var files: [File] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return names.filter { $0.hasSuffix(".ldif") && $0 != Self.lastName }.map { name in
            let date = (try? FileManager.default.attributesOfItem(atPath: "\(folder)/\(name)"))?[.modificationDate] as? Date
            return File(name: name, written: date?.timeIntervalSinceReferenceDate ?? 0)
        }
    }
}

extension ConfigurationTree {
    /// The entries of a file, or of a dump of the whole directory (RFC 2849).
    ///
    /// - Parameter file: its name, for whoever has to mend it.
    package init(ldif bytes: [UInt8], of file: String, base: DistinguishedName, node: String?) throws(CommandFailure) {
        var entries: [LDAPEntry] = []
        do throws(LDIFError) {
            var reader = try LDIFReader(bytes)
            while let record = try reader.next() {
                switch record.content {
                case .entry(let entry), .add(let entry): entries.append(entry)
                case .delete, .modify, .modifyDN: throw LDIFError(.expected("entries, and no changes"), line: 1)
                }
            }
        } catch {
            throw CommandFailure(.data, "\(file): \(error)")
        }
        self.init(entries, base: base, node: node)
    }
}
