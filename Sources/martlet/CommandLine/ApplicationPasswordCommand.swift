import ArgumentParser
import Foundation
import MartletCore
import MartletXMPP

struct ApplicationPasswordCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "app-password", abstract: "Make and take away passwords that an account has for single applications.",
        discussion: """
            A password for an application logs in as the account's own does, but changes nothing about who comes in: not the password, nor such passwords, nor \
            devices, nor the account. A new password of the account ends all of them.
            """,
        subcommands: [Add.self, List.self, Revoke.self])

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a password for an application, and show it once.",
            discussion: "The password goes to standard output, as one line; everything else does not.")
        @OptionGroup var target: AccountCommand.Target
        @Argument(help: "What the application is called, such as 'mail program'.") var name: String

        func run() async throws {
            let loaded = try target.options.load()
            let address = try AccountAddress.parse(target.jid).description
            let text = ApplicationPasswordText.make()
            let password = try PasswordInput.prepared(text)
            try await AccountCommand.atDesk(loaded) { desk in
                guard case .keys(let own) = try await desk.ask(.applicationPassword(.salts(of: address))) else { throw ServerReach.unexpected }
                let keys = try Self.keys(of: password, like: own)
                _ = try await desk.ask(.applicationPassword(.add(to: address, name: name, keys: keys)))
            }
            Terminal.say(text)
            Terminal.complain("this is shown once; a new password of \(address) ends it")
        }

        private static func keys(of password: PreparedPassword, like own: [String]) throws(CommandFailure) -> [String] {
            let own = try ScramKeys.parsed(own)
            do throws(ScramKeysError) { return try own.remade(of: password).map(\.text) } catch {
                throw CommandFailure(.software, "no keys can be made of the password: \(error)")
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List an account's passwords for applications: when they were made, and used last.")
        @OptionGroup var target: AccountCommand.Target
        @Flag(help: "One JSON object per line.") var json = false

        func run() async throws {
            let loaded = try target.options.load()
            let address = try AccountAddress.parse(target.jid).description
            try await AccountCommand.atDesk(loaded) { desk in
                guard case .applicationPasswords(let lines) = try await desk.ask(.applicationPassword(.list(of: address))) else { throw ServerReach.unexpected }
                for line in lines { Terminal.say(json ? Terminal.json(line) : line.text) }
            }
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Take an application's password away, and end its sessions.")
        @OptionGroup var target: AccountCommand.Target
        @Argument(help: "What the application is called, as the list shows it.") var name: String

        func run() async throws {
            let loaded = try target.options.load()
            let address = try AccountAddress.parse(target.jid).description
            try await AccountCommand.atDesk(loaded) { desk in
                _ = try await desk.ask(.applicationPassword(.revoke(of: address, name: name)))
            }
            Terminal.say("revoked \(name)")
        }
    }
}
