import MartletNetwork
import Testing

import martlet

@Suite("which domains have white pages")
struct PeoplePageTests {
    private func settings(_ text: String) throws -> PeopleSettings { NetworkAssembly(configuration: try load(text).configuration).settings.web.people }

    @Test("none, unless that is wanted; then for whom it says")
    func access() throws {
        let domains = "domains: [{name: a.example}, {name: b.example, people-page: organisation}, {name: c.example, people-page: everyone}, {name: d.example, people-page: off}]\n"
        #expect(try settings(minimal).access.isEmpty)
        #expect(try settings(domains).access == ["b.example": .organisation, "c.example": .everyone])
    }

    @Test("people are found as a search finds them")
    func finding() throws {
        #expect(try !settings(minimal).findsEmpty)
        #expect(try settings(minimal + "search: {who: all}\n").findsEmpty)
    }

    @Test("where nobody could look the operator is told")
    func noPort() throws {
        let domains = "domains: [{name: a.example, people-page: everyone}]\n"
        func warns(_ text: String) throws -> Bool { try load(text).warnings.contains { $0.path == "domains[0].people-page" } }
        #expect(try !warns(domains) && !warns(minimal + "listeners: [{kind: client, port: 5222}]\n"))
        #expect(try warns(domains + "listeners: [{kind: client, port: 5222}]\n"))
        #expect(try !warns(domains + "listeners: [{kind: https, port: 5443}]\n"))
    }
}
