import ArgumentParser
import Foundation
import MartletCore
import MartletNetwork
import MartletXMPP

struct InitCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init", abstract: "Set the server up: configuration, data folder, certificate, first account.",
        discussion: """
            What is there already is kept, so that it can be run again. Without a terminal everything comes from the options, and the \
            first account gets a password that is printed once.
            """)

    @Option(help: "The domain to serve, as in addresses: example.org.")
    var domain: String?
    @Option(help: "The folder for everything the server keeps.", completion: .directory)
    var data: String?
    @Option(
        name: [.short, .customLong("config")], help: ArgumentHelp("The configuration file; by default martlet.yaml in the data folder.", valueName: "file"),
        completion: .file())
    var config: String?
    @Option(help: ArgumentHelp("The first account, with the admin role; by default admin at the domain.", valueName: "jid"))
    var admin: String?
    @Flag(help: "Read the first account's password from standard input.")
    var passwordStdin = false

    func run() async throws {
        let setup = try Setup(self)
        let isNewFile = try setup.makeConfiguration()
        let loaded = try setup.load()
        let configuration = loaded.configuration
        try setup.check(configuration)
        let desk = AccountDesk(configuration, creates: true)
        let account: FirstAccount.Outcome
        do {
            account = try await FirstAccount(self, configuration, desk).make(setup.domain)
        } catch {
            await desk.close()
            throw error
        }
        await desk.close()
        let certificates = try DomainCertificates(configuration: configuration).files(nowSeconds: SystemClock().wallSeconds)
        Terminal.say(report(setup, isNewFile, configuration, certificates, account))
    }

    private func report(
        _ setup: Setup, _ isNewFile: Bool, _ configuration: ServerConfiguration, _ certificates: (files: [CertificateFiles], made: [String]),
        _ account: FirstAccount.Outcome
    ) -> String {
        var lines = ["Martlet is set up for \(configuration.domains.map(\.name).joined(separator: ", "))."]
        lines.append("  configuration   \(setup.file) (\(isNewFile ? "made" : "found"))")
        lines.append("  data            \(configuration.server.dataFolder)")
        // One for a domain and its services.
        var chains: Set<String> = []
        for files in certificates.files where chains.insert(files.chain).inserted {
            lines.append("  certificate     \(files.chain) (\(certificates.made.contains(files.domain) ? "made" : "found"))")
        }
        switch account {
        case .found: lines.append("  accounts        found")
        case .made(let address, nil): lines.append("  admin           \(address)")
        case .made(let address, let password?): lines.append("  admin           \(address), password \(password) (shown this once)")
        }
        lines.append("  start it        \(Announcement.command("serve", setup.file))")
        if geteuid() == 0, !configuration.server.runAsRoot {
            lines.append("  note            the server does not run as root: give the folder and the file to its user")
        }
        return lines.joined(separator: "\n")
    }
}

/// What is asked for, with what was not said filled in.
private struct Setup {
    let domain: BareJID
    let folder: String
    let file: String
    private let admin: String?
    private let namesFolder: Bool

    init(_ command: InitCommand) throws(CommandFailure) {
        let known = try Self.existing(command)
        guard let name = command.domain ?? known?.domains.first?.name ?? Self.ask("Domain, such as example.org: ") else {
            throw CommandFailure(.usage, "no domain was given", hint: "martlet init --domain example.org --data /var/lib/martlet")
        }
        guard let domain = try? BareJID(parsing: name), domain.isDomain else {
            throw CommandFailure(.data, "\(ConfigurationProblem.printable(name.prefix(200))) is not a domain", hint: "write it like example.org")
        }
        self.domain = domain
        namesFolder = command.data != nil
        folder = FilePath.resolve(command.data ?? known?.server.dataFolder ?? ServerConfiguration().server.dataFolder, against: Terminal.folder)
        file = FilePath.resolve(command.config ?? folder + "/martlet.yaml", against: Terminal.folder)
        admin = try command.admin.map { text throws(CommandFailure) in try AccountAddress.hosted(text, [domain.domainpart]).description }
    }

    /// Of a file that is there already.
    private static func existing(_ command: InitCommand) throws(CommandFailure) -> ServerConfiguration? {
        let file = command.config ?? command.data.map { $0 + "/martlet.yaml" }
        guard let file, PrivateFiles.exists(file) else { return nil }
        return try load(FilePath.resolve(file, against: Terminal.folder)).configuration
    }

    private static func ask(_ question: String) -> String? {
        guard Terminal.isInteractive, let answer = Terminal.ask(question), !answer.isEmpty else { return nil }
        return answer
    }

    /// - Returns: whether the file was not there before.
    func makeConfiguration() throws(CommandFailure) -> Bool {
        try PrivateFiles.makeFolder(folder)
        guard !PrivateFiles.exists(file) else { return false }
        var configuration = ServerConfiguration()
        configuration.domains = [.init(name: domain.domainpart)]
        configuration.server.dataFolder = folder
        configuration.access.admins = [admin ?? "admin@\(domain)"]
        // Its group may read it: those who look after the server.
        try PrivateFiles.write(ConfigurationDocuments.exampleFile(for: configuration).utf8, to: file, mode: 0o640)
        return true
    }

    func load() throws(CommandFailure) -> LoadedConfiguration { try Self.load(file) }

    private static func load(_ file: String) throws(CommandFailure) -> LoadedConfiguration {
        do throws(ConfigurationFailure) {
            return try ConfigurationLoader.standard.load(file: file, environment: Terminal.environment)
        } catch {
            throw CommandFailure(error)
        }
    }

    /// A file that was there must be for what is asked.
    func check(_ configuration: ServerConfiguration) throws(CommandFailure) {
        guard configuration.domains.contains(where: { $0.name == domain.domainpart }) else {
            throw CommandFailure(.data, "\(file) is there already and does not host \(domain)", hint: "add the domain to its list 'domains', then run this again")
        }
        guard !namesFolder || configuration.server.dataFolder == folder else {
            throw CommandFailure(
                .data, "\(file) is there already, with the data in \(configuration.server.dataFolder) and not in \(folder)",
                hint: "leave out --data, or name another file with --config")
        }
    }
}

/// The account with which everything begins.
private struct FirstAccount {
    enum Outcome {
        case found
        /// With its password, if it was generated.
        case made(BareJID, password: String?)
    }

    private let command: InitCommand
    private let configuration: ServerConfiguration
    private let desk: AccountDesk

    init(_ command: InitCommand, _ configuration: ServerConfiguration, _ desk: AccountDesk) {
        self.command = command
        self.configuration = configuration
        self.desk = desk
    }

    /// Without a name only where there is no account at all.
    func make(_ domain: BareJID) async throws(CommandFailure) -> Outcome {
        let address = try AccountAddress.hosted(command.admin ?? "admin@\(domain)", Set(configuration.domains.map(\.name)))
        var isNeeded = true
        try await desk.forEachPage { page in
            if command.admin == nil || page.contains(where: { $0.address == address.description }) { isNeeded = false }
        }
        guard isNeeded else { return .found }
        let generated = command.passwordStdin ? nil : PasswordInput.generated()
        let password: PreparedPassword
        if let generated { password = try PasswordInput.prepared(generated) } else { password = try PasswordInput.readLine() }
        try PasswordInput.check(password, for: address, try PasswordRules(configuration))
        let keys = try KeyMaker(configuration).keys(of: password)
        _ = try await desk.ask(.create([NewAccount(address: address.description, keys: keys, isAdmin: true)]))
        return .made(address, password: generated)
    }
}
