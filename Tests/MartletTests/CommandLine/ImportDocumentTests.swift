import Foundation
import MartletFeatures
import MartletXMPP
import Testing

import martlet

@Suite("Documents of accounts")
struct ImportDocumentTests {
    private static let files = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("Fixtures/portable")

    /// Looks through a document that is written to a file for the time being.
    private func survey(
        _ inner: String, existing: Set<String> = [], _ policy: ImportSurvey.Existing = .refused, skipsForeign: Bool = false
    ) async throws -> ImportSurvey {
        let file = NSTemporaryDirectory() + "martlet-\(UUID().uuidString.prefix(8)).xml"
        try "<server-data xmlns='urn:xmpp:pie:0'><host jid='Capulet.example'>\(inner)</host><host jid='montague.example'/></server-data>"
            .write(toFile: file, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(atPath: file) }
        var survey = ImportSurvey(domains: ["capulet.example"], skipsForeign: skipsForeign, existing: existing, policy)
        try await ImportDocument(path: file).forEachEvent { event, _ in survey.take(event) }
        return survey
    }

    private func addresses(_ survey: ImportSurvey) -> [String?] { survey.accounts.map { $0?.address.description } }

    @Test("a document is told from lines by what comes first", arguments: [
        ("<server-data", true), ("\n <?xml", true), ("juliet@capulet.example\tx", false), ("", false), (" \n", false),
    ])
    func kind(beginning: String, isDocument: Bool) { #expect(ImportDocument.isDocument(beginning.utf8) == isDocument) }

    @Test("accounts are found with their addresses prepared, and so are mistakes", arguments: [
        ("<user name='Juliet'/>", ["juliet@capulet.example"], ""), ("<user name='a'/><user name='A'/>", ["a@capulet.example", nil], "twice"),
        ("<user name=''/>", [nil], "not an address"), ("<user name='a/b'/>", [nil], "not an address"), ("<user name='a' password=''/>", [nil], "password"),
        ("<user name='a' password='x'/>", ["a@capulet.example"], ""),
    ])
    func found(inner: String, accounts: [String?], problem: String) async throws {
        let survey = try await survey(inner)
        #expect(addresses(survey) == accounts)
        #expect(survey.problems.count == (problem.isEmpty ? 0 : 1) && survey.problems.allSatisfy { $0.contains(problem) }, "\(survey.problems)")
    }

    @Test("an account that exists is a mistake, passed over, or replaced", arguments: [
        (ImportSurvey.Existing.refused, [String?](["b@capulet.example"]), 1), (.skipped, ["b@capulet.example"], 0), (.replaced, ["a@capulet.example", "b@capulet.example"], 0),
    ])
    func existing(policy: ImportSurvey.Existing, accounts: [String?], problems: Int) async throws {
        let survey = try await survey("<user name='a'/><user name='b'/>", existing: ["a@capulet.example"], policy)
        #expect(addresses(survey).compactMap(\.self) == accounts.compactMap(\.self) && survey.problems.count == problems)
    }

    @Test("an account of a domain that is not hosted is a mistake, or passed over where that is asked for")
    func foreign() async throws {
        let inner = "<user name='a'/></host><host jid='verona.example'><user name='b'/>"
        #expect(try await survey(inner).problems.count == 1)
        let skipping = try await survey(inner, skipsForeign: true)
        #expect(skipping.problems.isEmpty && addresses(skipping) == ["a@capulet.example", nil])
    }

    @Test("reading goes on, and so many mistakes are told")
    func many() async throws {
        let survey = try await survey((0..<100).map { _ in "<user name=''/>" }.joined())
        #expect(survey.problems.count == ImportFile.problemsMax && survey.isFull)
    }

    @Test("which messages wait is known before anything is taken")
    func waiting() async throws {
        let message = { (id: String, by: String) in "<message xmlns='jabber:client' from='x@y'><stanza-id xmlns='urn:xmpp:sid:0' id='\(id)' by='\(by)'/></message>" }
        let inner = "<user name='a'><offline-messages>\(message("1", "a@capulet.example"))\(message("2", "b@capulet.example"))</offline-messages></user>"
        #expect(try await survey(inner).accounts.first??.waiting == ["1"])
    }

    @Test("what is wrong with a document is said with where it is", arguments: [
        ("<a/>", "its root is not"), ("<server-data xmlns='urn:xmpp:pie:0'>", "ends too early"), ("<server-data xmlns='urn:xmpp:pie:0'><!--", "comments"),
        ("<server-data xmlns='urn:xmpp:pie:0'><include xmlns='http://www.w3.org/2001/XInclude' href='a'/></server-data>", "XInclude"),
    ])
    func faults(text: String, says: String) async throws {
        let file = NSTemporaryDirectory() + "martlet-\(UUID().uuidString.prefix(8)).xml"
        try text.write(toFile: file, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(atPath: file) }
        let failure = await #expect(throws: CommandFailure.self) { try await ImportDocument(path: file).forEachEvent { _, _ in } }
        #expect(failure?.status == .data && failure?.message.contains(says) == true && failure?.message.contains("after byte") == true)
    }

    @Test("a file that is not there is told")
    func missing() async throws {
        let failure = await #expect(throws: CommandFailure.self) { try await ImportDocument(path: "/nowhere/accounts.xml").forEachEvent { _, _ in } }
        #expect(failure?.status == .noInput)
    }
}
