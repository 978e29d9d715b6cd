import Foundation
import MartletCore
import MartletFeatures
import MartletTesting
import Testing

/// The same transcripts that are held with the binary and with other servers, in process and on a manual clock.
@Suite("Conversations in process")
struct ConversationTests {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../Conversations")
    private static let files: [String] =
        (FileManager.default.subpaths(atPath: folder.path()) ?? []).filter { $0.hasSuffix(".conversation") && !network.contains($0) }.sorted()
    /// What is about connections and not about stanzas: there are none here.
    private static let network: Set = ["RFC-6120/deadline-before-binding.conversation", "XEP-0199-Ping/idle.conversation"]

    @Test("goes as it is written", arguments: files)
    func conversation(file: String) throws {
        let text = try String(contentsOf: Self.folder.appending(path: file), encoding: .utf8)
        var contacts = ContactAddresses.Addresses()
        contacts.admin = ["xmpp:admin@capulet.example"]
        contacts.abuse = ["mailto:abuse@capulet.example"]
        let server = TestServer(contacts: contacts)
        try ConversationRunner.run(ConversationParser.parse(text), over: InProcessConversationTransport(server), tag: "t1")
        #expect(server.unfinishedStanzas == 0, "a stanza was never completed")
    }
}
