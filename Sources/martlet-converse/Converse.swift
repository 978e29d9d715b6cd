import ArgumentParser
import Foundation
import MartletTesting

/// Holds conversations with a server over TCP and says how they went.
@main
struct Converse: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "martlet-converse",
        abstract: "Holds the conversations of Conversations/ with a server over TCP.",
        discussion: "Exits with 1 if a conversation went otherwise than it is written or expected.")

    @Option(help: "IPv4 address of the server.")
    var host = "127.0.0.1"

    @Option(help: "Port of a listener that allows authentication without TLS.")
    var port: UInt16

    @Option(help: "A domain of the server.")
    var domain: String

    @Option(
        help: ArgumentHelp(
            "Shell command that creates an account.",
            discussion: "{localpart}, {domain}, {jid} and {password} are replaced; the password is also on standard input."))
    var createAccountCommand: String

    @Option(
        help: ArgumentHelp(
            "Shell command that sets the groups that are shared in rosters.",
            discussion: "They come by standard input, as a list of YAML in the form of the key shared-groups. Without it, conversations with groups are skipped."))
    var shareGroupsCommand: String?

    @Option(help: "Seconds to wait for a stanza that is expected.")
    var timeout = 5

    @Option(help: "Name of the server, where it is not ours and expected differences are to be taken into account.")
    var oracleName: String?

    @Option(help: "Version of that server, for the table.")
    var oracleVersion: String?

    @Option(help: "Markdown file to write with the result of every conversation.")
    var table: String?

    @Argument(help: "Conversation files, and folders to look for them in.")
    var files: [String]

    func run() throws {
        let transport = TCPConversationTransport(
            host: host, port: port, domain: domain, accountCommand: createAccountCommand, groupsCommand: shareGroupsCommand,
            receiveTimeout: .seconds(timeout))
        var reports: [ConversationReport] = []
        for (number, file) in try conversationFiles().enumerated() {
            let report = ConversationReport(
                file: file, over: transport, oracle: oracleName?.lowercased(), tag: "\(getpid())x\(number)")
            print(report.line)
            reports.append(report)
        }
        print(ConversationReport.summary(of: reports))
        if let table { try writeTable(of: reports, to: table) }
        if !reports.allSatisfy(\.isAsExpected) { throw ExitCode.failure }
    }

    private func conversationFiles() throws -> [String] {
        var found: [String] = []
        for file in files {
            guard !file.hasSuffix(".conversation") else {
                found.append(file)
                continue
            }
            let inside = FileManager.default.subpaths(atPath: file) ?? []
            found += inside.filter { $0.hasSuffix(".conversation") }.sorted().map { file + "/" + $0 }
        }
        guard !found.isEmpty else { throw ValidationError("There are no conversations in \(files.joined(separator: ", ")).") }
        return found
    }

    private func writeTable(of reports: [ConversationReport], to path: String) throws {
        let name = [oracleName?.capitalized, oracleVersion].compactMap(\.self).joined(separator: " ")
        try ConversationReport.table(of: reports, with: name.isEmpty ? "the server" : name)
            .write(toFile: path, atomically: true, encoding: .utf8)
    }
}
