/// What is wrong with rules about log-ins that no single value can tell: names of nothing, rules that never decide, or that let nobody in.
struct LoginRuleChecks {
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
        checkGroups()
        checkRules()
    }

    private var groups: [ServerConfiguration.LoginGroup] { configuration.loginGroups }
    private var rules: [ServerConfiguration.LoginRule] { configuration.loginRules }

    private mutating func report(_ path: String, _ message: String, hint: String? = nil) {
        findings.append(Finding(severity: .error, path: path, message: message, hint: hint))
    }

    private mutating func warn(_ path: String, _ message: String, hint: String? = nil) {
        findings.append(Finding(severity: .warning, path: path, message: message, hint: hint))
    }

    // MARK: Names

    private mutating func checkGroups() {
        checkOnce(groups.map(\.name), "login-groups")
        for (index, group) in groups.enumerated() {
            let path = "login-groups[\(index)]"
            checkHosted(group.accounts, "\(path).accounts")
            if group.accounts.isEmpty { warn("\(path).name", "nobody is in the group \(group.name)") }
        }
    }

    private mutating func checkRules() {
        checkOnce(rules.map(\.name), "login-rules")
        for (index, rule) in rules.enumerated() {
            let path = "login-rules[\(index)]"
            checkHosted(rule.accounts, "\(path).accounts")
            checkKnown(rule.domains, "\(path).domains", configuration.domains.map(\.name)) { "this server does not host \($0)" }
            checkKnown(rule.groups, "\(path).groups", groups.map(\.name)) { "there is no group \($0)" }
            for (number, listener) in rule.listeners.enumerated() where !configuration.listeners.contains(where: listener.includes) {
                report("\(path).listeners[\(number)]", "there is no listener \(listener)")
            }
        }
        guard findings.allSatisfy({ $0.severity == .warning }) else { return }
        for index in rules.indices { checkDecides(index) }
    }

    private mutating func checkOnce(_ names: [String], _ path: String) {
        var first: [String: Int] = [:]
        for (index, name) in names.enumerated() where !name.isEmpty {
            if let other = first[name] { report("\(path)[\(index)].name", "\(name) is there twice", hint: "see \(path)[\(other)]") } else { first[name] = index }
        }
    }

    private mutating func checkHosted(_ accounts: [String], _ path: String) {
        let hosted = configuration.domains.map(\.name)
        for (index, account) in accounts.enumerated() {
            guard let domain = account.split(separator: "@").last.map(String.init), !hosted.contains(domain) else { continue }
            report("\(path)[\(index)]", "this server does not host \(ConfigurationSource.shortened(domain))", hint: Self.hint(domain, hosted))
        }
    }

    private mutating func checkKnown(_ names: [String], _ path: String, _ known: [String], _ message: (String) -> String) {
        for (index, name) in names.enumerated() where !known.contains(name) {
            report("\(path)[\(index)]", message(ConfigurationSource.shortened(name)), hint: Self.hint(name, known))
        }
    }

    private static func hint(_ name: String, _ known: [String]) -> String? {
        if let nearest = NearestName.nearest(to: name, among: known) { return "did you mean \(nearest)?" }
        return known.isEmpty ? nil : "there are \(known.sorted().prefix(10).joined(separator: ", "))"
    }

    // MARK: Rules that never decide

    private mutating func checkDecides(_ index: Int) {
        let (rule, path) = (rules[index], "login-rules[\(index)]")
        if !rule.domains.isEmpty, let named = named(by: rule), !named.contains(where: { isOf($0, rule.domains) }) {
            return report("\(path).domains", "the rule \(rule.name) can never match: nobody whom it names is at these domains")
        }
        if !rule.accounts.isEmpty, !rule.groups.isEmpty, named(by: rule)?.isEmpty == true {
            return report("\(path).groups", "the rule \(rule.name) can never match: no account that it names is in a group that it names")
        }
        if let earlier = rules[..<index].firstIndex(where: { covers($0, rule) }) {
            return report(
                "\(path).name", "the rule \(rule.name) can never match: whatever it is about, \(rules[earlier].name) decides before",
                hint: "put it before login-rules[\(earlier)]")
        }
        checkOffer(rule, path)
    }

    private func members(of names: [String]) -> Set<String> { Set(groups.filter { names.contains($0.name) }.flatMap(\.accounts)) }

    /// The accounts that it can be about; `nil`: those of others as well.
    private func named(by rule: ServerConfiguration.LoginRule) -> Set<String>? {
        let members = members(of: rule.groups)
        switch (rule.accounts.isEmpty, rule.groups.isEmpty) {
        case (true, true): return nil
        case (false, true): return Set(rule.accounts)
        case (true, false): return members
        case (false, false): return members.intersection(rule.accounts)
        }
    }

    private func isOf(_ account: String, _ domains: [String]) -> Bool { account.split(separator: "@").last.map { domains.contains(String($0)) } ?? false }

    /// Whether every connection and account that one is about is what the other is about as well.
    private func covers(_ earlier: ServerConfiguration.LoginRule, _ rule: ServerConfiguration.LoginRule) -> Bool {
        coversDomains(earlier, rule) && coversAccounts(earlier, rule)
            && Self.covers(earlier.networks, rule.networks) { $0.contains($1.address) && $0.prefixLength <= $1.prefixLength }
            && Self.covers(earlier.listeners, rule.listeners) { $0.kind == $1.kind && ($0.port == nil || $0.port == $1.port) }
    }

    private func coversDomains(_ earlier: ServerConfiguration.LoginRule, _ rule: ServerConfiguration.LoginRule) -> Bool {
        guard !earlier.domains.isEmpty else { return true }
        if let named = named(by: rule) {
            return named.filter { rule.domains.isEmpty || isOf($0, rule.domains) }.allSatisfy { isOf($0, earlier.domains) }
        }
        let domains = rule.domains.isEmpty ? configuration.domains.map(\.name) : rule.domains
        return domains.allSatisfy(earlier.domains.contains)
    }

    private func coversAccounts(_ earlier: ServerConfiguration.LoginRule, _ rule: ServerConfiguration.LoginRule) -> Bool {
        guard let known = named(by: earlier) else { return true }
        guard let named = named(by: rule) else { return false }
        return !named.isEmpty && named.isSubset(of: known)
    }

    private static func covers<Value>(_ earlier: [Value], _ later: [Value], _ includes: (Value, Value) -> Bool) -> Bool {
        earlier.isEmpty || !later.isEmpty && later.allSatisfy { value in earlier.contains { includes($0, value) } }
    }

    // MARK: Rules that let nobody in

    private mutating func checkOffer(_ rule: ServerConfiguration.LoginRule, _ path: String) {
        let useless = rule.mechanisms.compactMap { mechanism in obstacle(mechanism, rule).map { (mechanism, $0) } }
        for (mechanism, why) in useless {
            guard let index = rule.mechanisms.firstIndex(of: mechanism) else { continue }
            warn("\(path).mechanisms[\(index)]", "\(mechanism.rawValue) cannot be used: \(why)")
        }
        let usable = LoginMechanism.allCases.filter { allows(rule, $0) && obstacle($0, rule) == nil }
        if usable.isEmpty {
            warn("\(path).name", "nobody whom the rule \(rule.name) is about can log in", hint: obstacle(.external, rule).map { "EXTERNAL cannot be used: \($0)" })
        } else if usable == [.tokens] {
            warn("\(path).mechanisms", "whoever has no token yet cannot log in, and nobody gets one that way")
        }
    }

    private func allows(_ rule: ServerConfiguration.LoginRule, _ mechanism: LoginMechanism) -> Bool {
        if rule.isStrong, mechanism != .external, mechanism != .gssapi { return false }
        if rule.needsChannelBinding, mechanism.unbound == nil, mechanism != .external, mechanism != .tokens { return false }
        if rule.mechanisms.isEmpty { return isStandard(mechanism) }
        return rule.mechanisms.contains(mechanism) || mechanism.unbound.map(rule.mechanisms.contains) ?? false
    }

    private func isStandard(_ mechanism: LoginMechanism) -> Bool {
        switch mechanism {
        case .external, .gssapi, .oauthBearer, .tokens: true
        case .scramSHA512PLUS, .scramSHA256PLUS, .scramSHA1PLUS, .scramSHA512, .scramSHA256, .scramSHA1, .plain:
            configuration.authentication.mechanisms.map(\.rawValue).contains((mechanism.unbound ?? mechanism).rawValue)
        }
    }

    /// Why it is no use for those whom a rule is about, wherever they connect.
    private func obstacle(_ mechanism: LoginMechanism, _ rule: ServerConfiguration.LoginRule) -> String? {
        switch mechanism {
        case .tokens: configuration.devices.tokenLifetime > .zero ? nil : "devices.token-lifetime is 0s"
        case .scramSHA512PLUS, .scramSHA256PLUS, .scramSHA1PLUS:
            configuration.authentication.channelBinding ? nil : "authentication.channel-binding is false"
        case .external: domains(of: rule).contains { $0.clientCertificates != .off } ? nil : "the domain's client-certificates is off"
        case .gssapi: domains(of: rule).contains { !$0.kerberosRealms.isEmpty } ? nil : "the domain has no kerberos-realms"
        case .oauthBearer: domains(of: rule).contains { believesTokens($0.name) } ? nil : "no entry of oauth is about the domain"
        case .scramSHA512, .scramSHA256, .scramSHA1, .plain: nil
        }
    }

    private func domains(of rule: ServerConfiguration.LoginRule) -> [ServerConfiguration.Domain] {
        let named = named(by: rule)
        return configuration.domains.filter { domain in
            (rule.domains.isEmpty || rule.domains.contains(domain.name)) && (named == nil || named?.contains { isOf($0, [domain.name]) } == true)
        }
    }

    private func believesTokens(_ domain: String) -> Bool { configuration.oauth.contains { $0.domains.isEmpty || $0.domains.contains(domain) } }
}

extension LoginMechanism {
    /// The mechanism that it is with channel binding.
    fileprivate var unbound: LoginMechanism? {
        switch self {
        case .scramSHA512PLUS: .scramSHA512
        case .scramSHA256PLUS: .scramSHA256
        case .scramSHA1PLUS: .scramSHA1
        case .external, .gssapi, .scramSHA512, .scramSHA256, .scramSHA1, .oauthBearer, .plain, .tokens: nil
        }
    }
}
