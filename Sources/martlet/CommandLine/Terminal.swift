import Foundation

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// The process's surroundings: who typed the command, and where.
enum Terminal {
    static var environment: [String: String] { ProcessInfo.processInfo.environment }
    static var folder: String { FileManager.default.currentDirectoryPath }
    static var isInteractive: Bool { isatty(STDIN_FILENO) == 1 }
    static var showsProgress: Bool { isatty(STDERR_FILENO) == 1 }

    static func complain(_ text: String) { write(text + "\n", to: STDERR_FILENO) }
    static func say(_ text: String) { write(text + "\n", to: STDOUT_FILENO) }
    /// What the server has answered, for people or for programs.
    static func say(_ value: some Encodable, asJSON isJSON: Bool, else text: @autoclosure () -> String) { say(isJSON ? json(value) : text()) }
    static func json(_ value: some Encodable) -> String { String(decoding: (try? ControlClient.encoder.encode(value)) ?? Data(), as: UTF8.self) }
    /// On the line that is there already.
    static func progress(_ text: String) { write("\r\(text)\u{1B}[K", to: STDERR_FILENO) }

    /// Asks a question on the terminal; `nil` at its end.
    static func ask(_ question: String) -> String? {
        write(question, to: STDERR_FILENO)
        return readLine(strippingNewline: true)?.trimmingCharacters(in: .whitespaces)
    }

    /// Asks for a secret, which is not shown while it is typed.
    static func askSecretly(_ question: String) -> String? {
        write(question, to: STDERR_FILENO)
        var before = termios()
        let hasTerminal = tcgetattr(STDIN_FILENO, &before) == 0
        if hasTerminal {
            var silent = before
            silent.c_lflag &= ~tcflag_t(ECHO)
            tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent)
        }
        defer {
            if hasTerminal { tcsetattr(STDIN_FILENO, TCSAFLUSH, &before) }
            write("\n", to: STDERR_FILENO)
        }
        return readLine(strippingNewline: true)
    }

    private static func write(_ text: String, to descriptor: Int32) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { systemWrite(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}

/// `write(2)`, which has the name of a function above.
private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int { write(descriptor, bytes, count) }

extension Int {
    /// With what is counted, such as `1 report` and `2 reports`.
    func counted(_ noun: String) -> String { self == 1 ? "1 \(noun)" : "\(self) \(noun)s" }
}
