package import MartletCore
import MartletLDAP
package import MartletXMPP
package import NIOCore

/// Verifies passwords by binding with them (RFC 4513 §5.1.3), on connections that are there for nothing else: after a bind they are somebody else's.
///
/// So many are asked at a time, and so many may wait, for so long: who logs in costs the directory no more than that.
package actor BindPool {
    package struct Settings: Hashable, Sendable {
        package var connectionsMax = 4
        /// Who waits for a connection.
        package var waitingMax = 64
        /// For how long.
        package var patience = TimeAmount.seconds(10)
        /// How long a connection to another server than the first is used, before it is looked whether that is back.
        package var returnInterval = TimeAmount.seconds(60)

        package init() {}
    }

    /// A connection, and until when it is used.
    private struct Member {
        let connection: LDAPConnection
        /// `nil`: as long as it lasts.
        let end: NIODeadline?
    }

    private let servers: DirectoryServers
    private let settings: Settings
    private let timers: any EventLoop
    private var idle: [Member] = []
    private var busyCount = 0
    private var waiting: [UInt64: CheckedContinuation<Bool, Never>] = [:]
    private var lastTicket: UInt64 = 0
    private var isClosed = false

    /// - Parameter timers: whose timers are used.
    package init(_ servers: DirectoryServers, _ settings: Settings = Settings(), timers: any EventLoop) {
        self.servers = servers
        self.settings = settings
        self.timers = timers
    }

    /// Whether the password is that of the entry with the name.
    package func verify(_ password: PreparedPassword, of name: String) async -> BindVerdict {
        guard !isClosed else { return .unavailable(.closed) }
        guard await getsTurn() else { return .unavailable(.tooMany) }
        defer { giveTurn() }
        while let member = await usable() {
            let verdict = await ask(member, password, name)
            if !Self.wasNotAsked(verdict) { return verdict }
        }
        do throws(DirectoryFailure) {
            let opened = try await servers.open { _ throws(DirectoryFailure) in }
            let end = opened.server == 0 ? nil : servers.now + settings.returnInterval
            return await ask(Member(connection: opened.connection, end: end), password, name)
        } catch {
            return .unavailable(error)
        }
    }

    private func usable() async -> Member? {
        while let member = idle.popLast() {
            if let end = member.end, end <= servers.now {
                member.connection.unbind()
            } else if await member.connection.isOpen {
                return member
            }
        }
        return nil
    }

    /// A server closes what was silent for long, which may show only now; or it is just being asked whether anybody is there.
    private static func wasNotAsked(_ verdict: BindVerdict) -> Bool {
        if case .unavailable(.disconnected) = verdict { true } else { verdict == .unavailable(.occupied) }
    }

    private func ask(_ member: Member, _ password: PreparedPassword, _ name: String) async -> BindVerdict {
        do throws(DirectoryFailure) {
            let answer = try await member.connection.bind(as: .simple(name: name, password), controls: [.passwordPolicy])
            if isClosed { member.connection.unbind() } else { idle.append(member) }
            return BindVerdict(answer)
        } catch {
            member.connection.unbind()
            return .unavailable(error)
        }
    }

    // MARK: Turns

    private func getsTurn() async -> Bool {
        if busyCount < settings.connectionsMax {
            busyCount += 1
            return true
        }
        guard waiting.count < settings.waitingMax else { return false }
        lastTicket += 1
        let ticket = lastTicket
        let timer = timers.scheduleTask(in: settings.patience) { Task { await self.giveUp(ticket) } }
        defer { timer.cancel() }
        return await withCheckedContinuation { waiting[ticket] = $0 }
    }

    private func giveUp(_ ticket: UInt64) { waiting.removeValue(forKey: ticket)?.resume(returning: false) }

    /// To who has waited longest.
    private func giveTurn() {
        guard let first = waiting.keys.min(), let next = waiting.removeValue(forKey: first) else {
            busyCount -= 1
            return
        }
        next.resume(returning: true)
    }

    /// For good. What is being asked is still answered.
    package func close() {
        isClosed = true
        for member in idle { member.connection.unbind() }
        idle = []
        for one in waiting.values { one.resume(returning: false) }
        waiting = [:]
    }
}

extension BindPool: DirectoryBinding {
    package func bind(as name: String, _ password: PreparedPassword) async -> AccountVerdict { await verify(password, of: name).accountVerdict }
}
