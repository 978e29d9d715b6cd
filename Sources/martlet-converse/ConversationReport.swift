import Foundation
import MartletTesting

/// How one conversation went.
struct ConversationReport {
    var file: String
    var title: String
    var section: String
    var outcome: Outcome

    enum Outcome {
        case passed
        /// It went otherwise, as the file says that it would.
        case differs(reason: String)
        /// It went as written, although the file says that it would not.
        case noLongerDiffers(reason: String)
        case skipped(reason: String)
        case failed(String)
    }

    init(file: String, over transport: any ConversationTransport, oracle: String?, tag: String) {
        self.file = file
        (title, section) = (file, "")
        do {
            let conversation = try ConversationParser.parse(String(contentsOfFile: file, encoding: .utf8))
            (title, section) = (conversation.title, conversation.section)
            outcome = Self.outcome(of: conversation, over: transport, oracle: oracle, tag: tag)
        } catch {
            outcome = .failed("\(error)")
        }
    }

    private static func outcome(
        of conversation: Conversation, over transport: any ConversationTransport, oracle: String?, tag: String
    ) -> Outcome {
        if conversation.needsManualClock, !transport.hasManualClock { return .skipped(reason: "needs a manual clock") }
        if conversation.needsGroups, !transport.sharesGroups { return .skipped(reason: "needs shared groups") }
        let difference = oracle.flatMap { conversation.expectedDifferences[$0] }
        do {
            try ConversationRunner.run(conversation, over: transport, tag: tag)
            return difference.map { .noLongerDiffers(reason: $0) } ?? .passed
        } catch {
            return difference.map { .differs(reason: $0) } ?? .failed("\(error)")
        }
    }

    var isAsExpected: Bool {
        switch outcome {
        case .passed, .differs, .skipped: true
        case .noLongerDiffers, .failed: false
        }
    }

    // MARK: Writing

    /// For a terminal.
    var line: String {
        switch outcome {
        case .passed: "passed   \(file)"
        case .differs(let reason): "differs  \(file): \(reason)"
        case .noLongerDiffers: "FAILED   \(file): it went as written, but a difference is expected"
        case .skipped(let reason): "skipped  \(file): \(reason)"
        case .failed(let reason): "FAILED   \(file): \(reason)"
        }
    }

    static func summary(of reports: [ConversationReport]) -> String {
        let failed = reports.filter { !$0.isAsExpected }.count
        let differing = reports.filter { if case .differs = $0.outcome { true } else { false } }.count
        return "\(reports.count) conversations, \(differing) with an expected difference, \(failed) failed"
    }

    /// A page with a section per folder.
    static func table(of reports: [ConversationReport], with server: String) -> String {
        let differing = reports.filter { if case .differs = $0.outcome { true } else { false } }.count
        var page = """
            # Conversations

            Every conversation of `Conversations/` with the result of holding it with \(server), which is asked
            as an oracle: \(reports.count) conversations, of which \(differing) differ. Where a result differs, the
            conversation says what the specification asks for, and the reason here is the one written in the file.
            `Conversations/README.md` describes the format. This page is written by `scripts/converse prosody`.

            """
        for (folder, group) in Dictionary(grouping: reports, by: \.folder).sorted(by: { $0.key < $1.key }) {
            page += "\n## \(folder)\n\n| conversation | section | what it shows | result |\n|---|---|---|---|\n"
            for report in group {
                page += "| \(report.name) | \(cell(report.section)) | \(cell(report.title)) | \(cell(report.result)) |\n"
            }
        }
        return page
    }

    private var folder: String { file.split(separator: "/").dropLast().last.map(String.init) ?? "" }
    private var name: String { file.split(separator: "/").last.map { String($0.prefix { $0 != "." }) } ?? file }

    private var result: String {
        switch outcome {
        case .passed: "same"
        case .differs(let reason): "differs: \(reason)"
        case .noLongerDiffers: "same, although a difference was expected"
        case .skipped(let reason): "not held: \(reason)"
        case .failed(let reason): "FAILS: \(reason)"
        }
    }

    private static func cell(_ text: String) -> String {
        String(text.flatMap { $0 == "|" ? "\\|" : $0 == "\n" ? " " : String($0) })
    }
}
