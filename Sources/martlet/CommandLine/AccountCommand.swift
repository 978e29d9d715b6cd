import ArgumentParser
import Foundation
import MartletCore
import MartletXMPP

struct AccountCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "account", abstract: "Add, list, change and move accounts.",
        discussion: "Works while the server runs and while it does not. Passwords are asked for, or read from standard input.",
        subcommands: [
            Add.self, List.self, Disable.self, Enable.self, Delete.self, Password.self, ApplicationPasswordCommand.self, AccountCertificatesCommand.self,
            ImportAccountsCommand.self, AccountExportCommand.self,
        ])

    /// Does one thing at the desk and closes it.
    static func atDesk(_ loaded: LoadedConfiguration, _ body: (AccountDesk) async throws -> Void) async throws {
        let desk = AccountDesk(loaded.configuration)
        do {
            try await body(desk)
        } catch {
            await desk.close()
            throw error
        }
        await desk.close()
    }

    struct Target: ParsableArguments {
        @OptionGroup var options: ConfigurationOption
        @Argument(help: ArgumentHelp("The account, such as juliet@example.org.", valueName: "jid"))
        var jid: String
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Add an account.")
        @OptionGroup var target: Target
        @Flag(help: "Mark it as an administrator's.") var admin = false

        func run() async throws {
            let loaded = try target.options.load()
            let address = try AccountAddress.hosted(target.jid, Set(loaded.configuration.domains.map(\.name)))
            let keys = try KeyMaker(loaded.configuration).keys(of: try PasswordInput.read(for: address, try PasswordRules(loaded.configuration)))
            try await AccountCommand.atDesk(loaded) { desk in
                _ = try await desk.ask(.create([NewAccount(address: address.description, keys: keys, isAdmin: admin)]))
            }
            Terminal.say("added \(address)")
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the accounts.")
        @OptionGroup var options: ConfigurationOption
        @Option(help: "Only those of a domain.") var domain: String?
        @Flag(help: "One JSON object per line.") var json = false

        func run() async throws {
            try await AccountCommand.atDesk(try options.load()) { desk in
                try await desk.forEachPage(domain: domain) { page in
                    for account in page { Terminal.say(json ? Self.json(account) : account.text) }
                }
            }
        }

        private static func json(_ account: AccountLine) -> String {
            String(decoding: (try? ControlClient.encoder.encode(account)) ?? Data(), as: UTF8.self)
        }
    }

    struct Disable: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Keep an account from logging in, and end its sessions.")
        @OptionGroup var target: Target
        func run() async throws { try await AccountCommand.change(target, "disabled") { .setEnabled($0, false) } }
    }

    struct Enable: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Let a disabled account log in again.")
        @OptionGroup var target: Target
        func run() async throws { try await AccountCommand.change(target, "enabled") { .setEnabled($0, true) } }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Delete an account with all its data, and its place in the contact lists of others.")
        @OptionGroup var target: Target
        @Flag(help: "Do not ask.") var yes = false

        func run() async throws {
            if !yes, Terminal.isInteractive {
                let answer = Terminal.ask("Delete \(target.jid) with its contacts, messages and documents? Type yes: ")
                guard answer == "yes" else { throw CommandFailure(.usage, "nothing was deleted") }
            }
            try await AccountCommand.change(target, "deleted") { .delete($0) }
        }
    }

    struct Password: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Change an account's password, and end its sessions.")
        @OptionGroup var target: Target

        func run() async throws {
            let loaded = try target.options.load()
            let address = try AccountAddress.parse(target.jid)
            let keys = try KeyMaker(loaded.configuration).keys(of: try PasswordInput.read(for: address, try PasswordRules(loaded.configuration)))
            try await AccountCommand.atDesk(loaded) { desk in
                _ = try await desk.ask(.account(.setKeys(address.description, keys: keys)))
            }
            Terminal.say("changed the password of \(address)")
        }
    }

    private static func change(_ target: Target, _ done: String, _ order: (String) -> AccountOrder) async throws {
        let loaded = try target.options.load()
        let address = try AccountAddress.parse(target.jid).description
        let change = order(address)
        try await atDesk(loaded) { desk in _ = try await desk.ask(.account(change)) }
        Terminal.say("\(done) \(address)")
    }
}
