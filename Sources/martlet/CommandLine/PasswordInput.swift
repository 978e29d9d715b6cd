import ArgumentParser
import Foundation
import MartletCore
import MartletXMPP

/// Where passwords come from: a prompt or standard input, never the arguments, which everybody on the machine can read.
enum PasswordInput {
    /// Asks twice on a terminal, otherwise takes the first line of standard input. What the rules refuse is no password.
    static func read(for address: BareJID, _ rules: PasswordRules) throws(CommandFailure) -> PreparedPassword {
        let password = try read(for: address)
        try check(password, for: address, rules)
        return password
    }

    static func check(_ password: PreparedPassword, for address: BareJID, _ rules: PasswordRules) throws(CommandFailure) {
        do throws(PasswordRules.Fault) { try rules.check(password, for: address) } catch {
            throw CommandFailure(.data, error.text, hint: "accounts.password-length and accounts.refused-passwords say what is taken")
        }
    }

    private static func read(for address: BareJID) throws(CommandFailure) -> PreparedPassword {
        guard Terminal.isInteractive else { return try readLine() }
        guard let first = Terminal.askSecretly("Password for \(address): "), let second = Terminal.askSecretly("Again: ") else {
            throw CommandFailure(.usage, "no password was given")
        }
        guard first == second else { throw CommandFailure(.usage, "the two are not the same; nothing was changed") }
        return try prepared(first)
    }

    static func readLine() throws(CommandFailure) -> PreparedPassword {
        guard let line = Swift.readLine(strippingNewline: true) else {
            throw CommandFailure(.usage, "no password was given", hint: "write it to the command's standard input, as one line")
        }
        return try prepared(line)
    }

    static func prepared(_ text: String) throws(CommandFailure) -> PreparedPassword {
        guard let password = PreparedPassword(text) else {
            throw CommandFailure(.data, PasswordRules.Fault.unusable.text)
        }
        return password
    }

    /// A hundred random bits, easy to read out and to type.
    static func generated() -> String {
        let letters = Array("abcdefghijkmnpqrstuvwxyz23456789")
        let characters = SystemRandom().bytes(20).map { letters[Int($0) % letters.count] }
        return stride(from: 0, to: 20, by: 5).map { String(characters[$0..<($0 + 5)]) }.joined(separator: "-")
    }
}

/// Makes SCRAM keys of passwords, as the configuration wants them.
struct KeyMaker: Sendable {
    var policy: KeyPolicy

    init(_ configuration: ServerConfiguration) { policy = configuration.keyPolicy }

    /// As `ScramKeys.text` writes them. Milliseconds of one core for each hash.
    func keys(of password: PreparedPassword) throws(CommandFailure) -> [String] {
        do throws(ScramKeysError) {
            return try policy.keys(of: password).map(\.text)
        } catch {
            throw CommandFailure(.software, "no keys can be made of the password: \(error)")
        }
    }
}

extension ServerConfiguration {
    /// How passwords are stored.
    var keyPolicy: KeyPolicy { KeyPolicy(hashes: passwordHashes, iterations: authentication.scramIterations) }
}
