/// How a command ends, for scripts: the numbers of `sysexits.h`. `docs/operating.md` lists them.
package enum ExitStatus: Int32, Sendable, CaseIterable {
    /// The command line is wrong.
    case usage = 64
    /// What was given or found is wrong: an address, a line of an import, a database that contradicts itself.
    case data = 65
    /// A file that was named is not there or cannot be read.
    case noInput = 66
    /// There is no such account, session or room.
    case noAccount = 67
    /// The server does not run, a port is in use, or there can be no stream to another server.
    case unavailable = 69
    /// A mistake of ours.
    case software = 70
    /// A file cannot be made.
    case cannotCreate = 73
    /// The disk failed or is full.
    case io = 74
    /// Somebody else is at it; trying again later may help.
    case temporary = 75
    case noPermission = 77
    /// The configuration is wrong.
    case configuration = 78
}

/// Why a command did not do what it was asked: for people and, by its status, for scripts.
package struct CommandFailure: Error, Hashable, Sendable, CustomStringConvertible {
    package var status: ExitStatus
    /// What is wrong and where.
    package var message: String
    /// What to do about it.
    package var hint: String?

    package init(_ status: ExitStatus, _ message: String, hint: String? = nil) {
        self.status = status
        self.message = message
        self.hint = hint
    }

    package var description: String { hint.map { "\(message)\n  hint: \($0)" } ?? message }
}
