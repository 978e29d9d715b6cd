import Foundation
import MartletTesting
import Testing

@Suite("The conversations of this project")
struct ConversationFilesTests {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../Conversations")
    private static let files: [String] =
        (FileManager.default.subpaths(atPath: folder.path()) ?? []).filter { $0.hasSuffix(".conversation") }.sorted()

    @Test("there are some")
    func some() {
        #expect(Self.files.count > 100)
    }

    @Test("every file is readable, and so is every block in it", arguments: files)
    func readable(file: String) throws {
        let conversation = try ConversationParser.parse(String(contentsOf: Self.folder.appending(path: file), encoding: .utf8))
        for step in conversation.steps {
            guard case .receive(_, let stanzas, _) = step.act else { continue }
            #expect(try !StanzaPattern.patterns(stanzas).isEmpty, "line \(step.line)")
        }
    }
}
