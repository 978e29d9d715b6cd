import ArgumentParser
import MartletXMPP

struct AccountCertificatesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "certificates", abstract: "List the certificates that an account has added for itself, or revoke one (XEP-0257).",
        discussion: """
            One line for each: its name, its SHA-256, when it was added and when it ends, and which sessions came by it. Revoking one ends those sessions. \
            What is changed is written to the audit log.
            """)
    @OptionGroup var target: AccountCommand.Target
    @Option(help: ArgumentHelp("Revoke the certificate of this name.", valueName: "name")) var revoke: String?
    @Flag(help: "One JSON object per line.") var json = false

    func run() async throws {
        let address = try AccountAddress.parse(target.jid).description
        try await AccountCommand.atDesk(try target.options.load()) { desk in
            if let revoke {
                _ = try await desk.ask(.certificate(.revoke(of: address, name: revoke)))
                return Terminal.say("revoked \(revoke)")
            }
            guard case .certificates(let lines) = try await desk.ask(.certificate(.list(of: address))) else { throw ServerReach.unexpected }
            for line in lines { Terminal.say(json ? Terminal.json(line) : line.text) }
        }
    }
}
