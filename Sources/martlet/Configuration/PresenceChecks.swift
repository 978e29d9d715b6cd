import MartletCore
import MartletLDAP

/// What is wrong with rules about presence that no single value can tell: groups that are not there, rules that never decide, or do nothing.
struct PresenceChecks {
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
        for (index, domain) in configuration.domains.enumerated() { check(domain, "domains[\(index)].presence") }
    }

    private mutating func report(_ path: String, _ message: String, hint: String? = nil) {
        findings.append(Finding(severity: .error, path: path, message: message, hint: hint))
    }

    private mutating func warn(_ path: String, _ message: String, hint: String? = nil) {
        findings.append(Finding(severity: .warning, path: path, message: message, hint: hint))
    }

    private mutating func check(_ domain: ServerConfiguration.Domain, _ path: String) {
        let sharing = domain.presence
        for (number, rule) in sharing.rules.enumerated() {
            let place = "\(path).rules[\(number)]"
            if rule.viewers.isEmpty { report(place, "it is not said who looks", hint: "set viewers, such as [any]") }
            for (index, viewer) in rule.viewers.enumerated() {
                if case .group(let name) = viewer { check(name, of: domain, "\(place).viewers[\(index)]") }
            }
            for (index, target) in rule.targets.enumerated() {
                if case .group(let name) = target { check(name, of: domain, "\(place).targets[\(index)]") }
            }
            if let earlier = sharing.rules[..<number].firstIndex(where: { Self.covers($0, rule) }) {
                report(place, "the rule can never decide: whatever it is about, an earlier one does", hint: "put it before \(path).rules[\(earlier)]")
            }
        }
        if sharing.defaultVisibility == nil, sharing.rules.contains(where: { $0.level != .none }) {
            warn(
                "\(path).rules", "they show nobody who has not asked for that by the command of the domain",
                hint: "set default-visibility: organisation; or contacts, if that is what you want")
        }
        if !sharing.rules.isEmpty, !configuration.showsPresence(of: domain) {
            warn("\(path).rules", "nobody could look", hint: "set people-page, or add a listener of kind ldaps")
        }
    }

    private mutating func check(_ group: String, of domain: ServerConfiguration.Domain, _ path: String) {
        let known = configuration.loginGroups.map(\.name) + domain.sharedGroups.map(\.name)
        switch known.count(where: { $0 == group }) {
        case 0 where configuration.isDirectoryGroup(group): break
        case 0: report(path, "there is no group \(ConfigurationSource.shortened(group)) in login-groups, the domain's shared-groups or a directory", hint: Self.hint(group, known))
        case 1: break
        default: report(path, "\(ConfigurationSource.shortened(group)) is in login-groups and in shared-groups", hint: "rename one of the two")
        }
    }

    private static func hint(_ name: String, _ known: [String]) -> String? {
        if let nearest = NearestName.nearest(to: name, among: known) { return "did you mean \(nearest)?" }
        return known.isEmpty ? nil : "there are \(known.sorted().prefix(10).joined(separator: ", "))"
    }

    /// Whether all that one is about is what the other is about as well.
    private static func covers(_ earlier: ServerConfiguration.PresenceRule, _ rule: ServerConfiguration.PresenceRule) -> Bool {
        let coversViewers = earlier.viewers.contains(.any) || rule.viewers.allSatisfy(earlier.viewers.contains)
        return coversViewers && (earlier.targets.contains(.any) || rule.targets.allSatisfy(earlier.targets.contains))
    }
}

extension ServerConfiguration {
    /// Whether it may be the name of a group's entry that is read.
    fileprivate func isDirectoryGroup(_ text: String) -> Bool {
        guard let name = try? DistinguishedName(text), !name.relativeNames.isEmpty else { return false }
        let bases = directories.compactMap(\.groups.base).compactMap { try? DistinguishedName($0) }
        return bases.contains { name == $0 || name.isDescendant(of: $0) }
    }

    /// Whether presence of a domain's accounts can be looked at by others than XMPP clients.
    package func showsPresence(of domain: Domain) -> Bool { domain.peoplePage != .off || directoryClientDomains.contains(domain.name) }
}
