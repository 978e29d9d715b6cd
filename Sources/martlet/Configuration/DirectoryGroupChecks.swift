import MartletLDAP
import MartletXMPP

extension ConfigurationChecks {
    mutating func checkDirectoryGroups() {
        // Indexes in lists and in the file differ once an item was refused.
        guard !faulty.contains(where: { $0.hasPrefix("directories") || $0.hasPrefix("domains") || $0.hasPrefix("access") }) else { return }
        for finding in DirectoryGroupChecks(configuration).findings {
            switch finding.severity {
            case .error: report(finding.path, finding.message, hint: finding.hint)
            case .warning: warn(finding.path, finding.message, hint: finding.hint)
            }
        }
    }
}

/// What is wrong with groups of directories that no single value can tell: groups that are never looked at, are there twice, or are seen by nobody.
struct DirectoryGroupChecks {
    struct Finding: Hashable {
        let severity: ConfigurationProblem.Severity
        let path: String
        let message: String
        let hint: String?
    }

    private(set) var findings: [Finding] = []

    init(_ configuration: ServerConfiguration) {
        for (index, entry) in configuration.directories.enumerated() { check(entry, "directories[\(index)]", configuration) }
        let bases = configuration.directories.compactMap(\.groups.base).compactMap { try? DistinguishedName($0) }
        checkAdmins(configuration.access.adminGroups, bases, "access.admin-groups")
        for (index, domain) in configuration.domains.enumerated() { checkAdmins(domain.adminGroups, bases, "domains[\(index)].admin-groups") }
    }

    private mutating func checkAdmins(_ groups: [String], _ bases: [DistinguishedName], _ path: String) {
        for (index, text) in groups.enumerated() {
            guard let name = try? DistinguishedName(text), !bases.contains(where: { name == $0 || name.isDescendant(of: $0) }) else { continue }
            report("\(path)[\(index)]", "\(ConfigurationSource.shortened(text)) is not below the groups.base of a directory, so that nobody would be in it")
        }
    }

    private mutating func report(_ path: String, _ message: String, hint: String? = nil) {
        findings.append(Finding(severity: .error, path: path, message: message, hint: hint))
    }

    private mutating func check(_ entry: ServerConfiguration.Directory, _ path: String, _ configuration: ServerConfiguration) {
        guard let base = entry.groups.base else { return checkWithoutGroups(entry, path) }
        if let group = entry.allowGroup { checkPlace(group, below: base, "\(path).allow-group", "nobody would have an account") }
        var first: [DistinguishedName: Int] = [:]
        for (index, group) in entry.groups.shared.enumerated() {
            let place = "\(path).groups.shared[\(index)]"
            checkPlace(group.name, below: base, "\(place).name", "it would be in no roster")
            if let name = try? DistinguishedName(group.name), let other = first.updateValue(index, forKey: name) {
                report("\(place).name", "\(ConfigurationSource.shortened(group.name)) is there twice", hint: "see \(path).groups.shared[\(other)]")
            }
            check(group, below: base, place)
        }
        checkRooms(of: entry, below: base, "\(path).rooms", RoomAddress(configuration))
    }

    private mutating func checkRooms(of entry: ServerConfiguration.Directory, below base: String, _ path: String, _ addresses: RoomAddress) {
        var first: [String: Int] = [:]
        for (index, room) in entry.rooms.enumerated() {
            if let address = try? BareJID(parsing: room.address), !addresses.isRoom(address) {
                report("\(path)[\(index)].room", "this server has no rooms at \(address.domainpart)", hint: "they are at \(addresses.domains.prefix(10).joined(separator: ", "))")
            }
            if let other = first.updateValue(index, forKey: room.address) { report("\(path)[\(index)].room", "\(room.address) is there twice", hint: "see \(path)[\(other)]") }
            let groups = [("owners", room.owners), ("admins", room.admins), ("members", room.members)]
            if groups.allSatisfy({ $0.1 == nil }) { report("\(path)[\(index)]", "no group has a part in the room", hint: "set owners, admins or members") }
            for (name, group) in groups { if let group { checkPlace(group, below: base, "\(path)[\(index)].\(name)", "nobody would be in it") } }
        }
    }

    private mutating func checkWithoutGroups(_ entry: ServerConfiguration.Directory, _ path: String) {
        let hint = "set \(path).groups.base"
        if entry.allowGroup != nil { report("\(path).allow-group", "groups of this directory are not read, so that nobody would have an account", hint: hint) }
        if !entry.groups.shared.isEmpty { report("\(path).groups.shared", "groups of this directory are not read", hint: hint) }
        if !entry.rooms.isEmpty { report("\(path).rooms", "groups of this directory are not read", hint: hint) }
        if entry.groups.share != .none { report("\(path).groups.share", "groups of this directory are not read", hint: hint) }
    }

    private mutating func check(_ group: ServerConfiguration.Directory.SharedGroup, below base: String, _ path: String) {
        for (index, name) in group.visibleTo.enumerated() { checkPlace(name, below: base, "\(path).visible-to[\(index)]", "nobody would see the group by it") }
        switch (group.share, group.visibleTo.isEmpty) {
        case (.groups, true): report(path, "nobody sees the group \(ConfigurationSource.shortened(group.name))", hint: "set visible-to")
        case (.members, false), (.all, false):
            findings.append(
                Finding(severity: .warning, path: "\(path).visible-to", message: "it says nothing where share is \(group.share.rawValue)", hint: "set share to groups"))
        case (.groups, false), (.members, true), (.all, true): break
        }
    }

    /// A name that is none was reported as it was read.
    private mutating func checkPlace(_ name: String, below base: String, _ path: String, _ otherwise: String) {
        guard let base = try? DistinguishedName(base), let name = try? DistinguishedName(name), name != base, !name.isDescendant(of: base) else { return }
        report(path, "\(ConfigurationSource.shortened("\(name)")) is not below groups.base, so that \(otherwise)", hint: "correct one of them")
    }
}
