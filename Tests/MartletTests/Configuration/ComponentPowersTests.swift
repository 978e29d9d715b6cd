import MartletCore
import Testing

import martlet

@Suite("what components may do is in the configuration (XEP-0355, XEP-0356)")
struct ComponentPowersTests {
    private func text(_ powers: String) -> String {
        "domains: [{name: example.org}, {name: example.net}]\ncomponents:\n- name: x.example.org\n  secret-file: /secret\n\(powers)"
    }

    private func found(_ powers: String) -> [ConfigurationProblem] { problems(text(powers), readable: ["/secret"]) }

    @Test("nothing unless it is said")
    func nothing() throws {
        let component = try #require(load(text(""), readable: ["/secret"]).configuration.components.first)
        #expect(ComponentPrivileges(component.privileges) == ComponentPrivileges() && component.delegations.isEmpty && component.managedDomains.isEmpty)
    }

    @Test("all of it is read")
    func everything() throws {
        let powers = """
              managed-domains: [example.net]
              privileges: {roster: both, roster-push: false, message: outgoing, presence: roster, iq-get: ['a:b', 'c:d'], iq-set: ['c:d', 'e:f']}
              delegations: ['http://jabber.org/protocol/pubsub', urn:xmpp:mam:2 queryid node]
            """
        let component = try #require(load(text(powers), readable: ["/secret"]).configuration.components.first)
        var expected = ComponentPrivileges()
        (expected.roster, expected.wantsPushes, expected.message, expected.presence) = (.both, false, .outgoing, .roster)
        expected.requests = ["a:b": .get, "c:d": .both, "e:f": .set]
        #expect(ComponentPrivileges(component.privileges) == expected && component.managedDomains == ["example.net"])
        #expect(component.delegations.map(\.name) == ["http://jabber.org/protocol/pubsub", "urn:xmpp:mam:2"])
        #expect(component.delegations.map(\.attributes) == [[], ["node", "queryid"]])
    }

    @Test("what cannot be is found, at its place", arguments: [
        ("  managed-domains: [example.com]\n", "components[0].managed-domains[0]", "this server does not host example.com"),
        ("  privileges: {presence: roster}\n", "components[0].privileges.presence", "who may not read rosters"),
        ("  privileges: {presence: roster, roster: set}\n", "components[0].privileges.presence", "who may not read rosters"),
        ("  privileges: {presence: managed-entity}\n", "components[0].privileges.presence", "expected one of none, managed_entity, roster"),
        ("  privileges: {iq-get: ['']}\n", "components[0].privileges.iq-get[0]", "expected a namespace"),
        ("  privileges: {iq-set: ['a b']}\n", "components[0].privileges.iq-set[0]", "expected a namespace"),
        ("  delegations: ['jabber:iq:roster']\n", "components[0].delegations[0]", "the server answers for that itself"),
        ("  delegations: ['a:b', 'urn:xmpp:delegation:2']\n", "components[0].delegations[1]", "the server answers for that itself"),
        ("  delegations: ['a:b', 'a:b node']\n", "components[0].delegations[1]", "a:b is delegated to x.example.org already"),
        ("  delegations: ['a:b node node']\n", "components[0].delegations[0]", "expected a namespace"),
        ("  delegations: ['urn:xmpp:delegation:2:bare:disco#info:*']\n", "components[0].delegations[0]", "what accounts publish is the server's"),
        ("  delegations: ['urn:xmpp:delegation:2:bare:disco#items:* node', 'http://jabber.org/protocol/pubsub']\n", "components[0].delegations[0]", "has no attributes"),
        (
            "  delegations: ['urn:xmpp:delegation:2:bare:disco#items:*', 'http://jabber.org/protocol/pubsub node']\n", "components[0].delegations[0]",
            "what accounts publish is the server's"
        ),
    ])
    func impossible(_ powers: String, _ path: String, _ message: String) {
        let found = found(powers)
        #expect(found.contains { $0.path == path && $0.message.contains(message) }, "\(found)")
    }

    @Test("a component's name is nobody else's, neither a domain's nor a service's", arguments: [
        ("example.net", "a domain of this server"), ("conference.example.net", "a service of example.net"), ("pubsub.example.net", "a service of example.net"),
        ("proxy.example.net", "a service of example.net"), ("vjud.example.net", "a service of example.net"), ("upload.example.net", "a service of example.net"),
        ("x.example.org", "another component"), ("y.example.net", nil),
    ] as [(String, String?)])
    func names(_ name: String, owner: String?) {
        let services = "pubsub: {service: {enabled: true}}\nbytestreams: {enabled: true}\n"
        let found = problems(services + text("- name: \(name)\n  secret-file: /secret\n"), readable: ["/secret"])
        #expect(found.map { "\($0.path): \($0.message)" } == (owner.map { ["components[1].name: \(name) is \($0) already"] } ?? []))
    }

    @Test("what is below one with subdomains and somebody else's is told", arguments: [
        ("org", true, "example.org and 1 more below it are not the component's"), ("org", false, nil), ("b.example.net", true, nil),
    ] as [(String, Bool, String?)])
    func below(_ name: String, isWide: Bool, warning: String?) throws {
        let alone = "rooms: {enabled: false}\nsearch: {enabled: false}\nuploads: {enabled: false}\n"
        let second = alone + text("- name: \(name)\n  secret-file: /secret\n  subdomains: \(isWide)\n")
        let warnings = try load(second, readable: ["/secret"]).warnings.filter { $0.path == "components[1].subdomains" }.map(\.message)
        #expect(warnings == (warning.map { [$0] } ?? []))
    }

    @Test("two components do not answer for the same namespace of one domain, but of two")
    func twice() {
        func both(_ one: String, _ other: String) -> [ConfigurationProblem] {
            found("  managed-domains: [\(one)]\n  delegations: ['a:b']\n- name: y.example.org\n  secret-file: /secret\n  managed-domains: [\(other)]\n  delegations: ['a:b']\n")
        }
        #expect(both("example.org", "example.net").isEmpty)
        #expect(both("example.org", "example.org, example.net").map(\.path) == ["components[1].delegations[0]"])
    }

    @Test("so many bytes a namespace has, and so many attributes", arguments: [
        (1_023, 16, true), (1_024, 16, false), (1_023, 17, false), (1, 0, true), (0, 0, false),
    ])
    func limits(bytes: Int, attributes: Int, isOne: Bool) {
        let names = (0..<attributes).map { " a\($0)" }.joined()
        #expect((DelegatedNamespace(String(repeating: "n", count: bytes) + names) != nil) == isOne)
    }

    @Test("256 namespaces of each kind, and no more", arguments: ["delegations: [%]", "privileges: {iq-get: [%]}", "privileges: {iq-set: [%]}"])
    func counts(_ key: String) {
        func list(_ count: Int) -> String { "  " + key.replacing("%", with: (0..<count).map { "'n:\($0)'" }.joined(separator: ", ")) + "\n" }
        #expect(found(list(256)).isEmpty)
        #expect(found(list(257)).count == 1)
    }
}
