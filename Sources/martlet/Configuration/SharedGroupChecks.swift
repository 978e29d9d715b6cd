/// What is wrong with shared groups that no single value can tell: names that occur twice, or are of nothing, and members of other servers.
struct SharedGroupChecks {
    struct Finding: Hashable {
        let severity: ConfigurationProblem.Severity
        let path: String
        let message: String
        let hint: String?
    }

    private let configuration: ServerConfiguration
    private(set) var findings: [Finding] = []

    init(_ configuration: ServerConfiguration) {
        self.configuration = configuration
        for (index, domain) in configuration.domains.enumerated() { check(domain, "domains[\(index)].shared-groups") }
    }

    private mutating func report(_ path: String, _ message: String, hint: String? = nil) {
        findings.append(Finding(severity: .error, path: path, message: message, hint: hint))
    }

    private mutating func check(_ domain: ServerConfiguration.Domain, _ path: String) {
        var first: [String: Int] = [:]
        for (index, group) in domain.sharedGroups.enumerated() where !group.name.isEmpty {
            if let other = first[group.name] {
                report("\(path)[\(index)].name", "\(group.name) is there twice", hint: "see \(path)[\(other)]")
            } else {
                first[group.name] = index
            }
        }
        for (index, group) in domain.sharedGroups.enumerated() { check(group, "\(path)[\(index)]", Array(first.keys)) }
    }

    private mutating func check(_ group: ServerConfiguration.SharedGroup, _ path: String, _ names: [String]) {
        // A list that is there has an entry at least.
        if group.members.isEmpty { report(path, "nobody is in the group \(group.name)", hint: "set members") }
        let hosted = configuration.domains.map(\.name)
        for (index, member) in group.members.enumerated() {
            guard case .account(let account) = member, let domain = account.split(separator: "@").last.map(String.init), !hosted.contains(domain) else { continue }
            report("\(path).members[\(index)]", "this server does not host \(ConfigurationSource.shortened(domain))", hint: Self.hint(domain, hosted))
        }
        for (index, name) in group.visibleTo.enumerated() where !names.contains(name) {
            report("\(path).visible-to[\(index)]", "there is no group \(ConfigurationSource.shortened(name)) of this domain", hint: Self.hint(name, names))
        }
        switch (group.share, group.visibleTo.isEmpty) {
        case (.groups, true): report(path, "nobody sees the group \(group.name)", hint: "set visible-to")
        case (.members, false), (.all, false):
            findings.append(
                Finding(severity: .warning, path: "\(path).visible-to", message: "it says nothing where share is \(group.share.rawValue)", hint: "set share to groups"))
        case (.groups, false), (.members, true), (.all, true): break
        }
    }

    private static func hint(_ name: String, _ known: [String]) -> String? {
        if let nearest = NearestName.nearest(to: name, among: known) { return "did you mean \(nearest)?" }
        return known.isEmpty ? nil : "there are \(known.sorted().prefix(10).joined(separator: ", "))"
    }
}
