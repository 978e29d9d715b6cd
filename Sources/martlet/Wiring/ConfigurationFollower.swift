import Logging
import MartletCore
import MartletDirectory
import NIOCore
import NIOPosix

/// What came of a state of the directory's.
enum TreeOutcome: Sendable {
    case applied(ReloadReport)
    /// Everything stays as it was, and why.
    case refused(String)
    /// A reload is under way.
    case busy
}

/// Follows the part of the configuration that is in a directory, and has it put into force as it changes.
///
/// An actor: nobody's stanza waits for it.
actor ConfigurationFollower {
    private enum Contact {
        case neverLoaded
        case live(server: String)
        case lost(since: Int64, String)
    }

    /// How long it waits for a reload that is under way.
    private static let busyTime = TimeAmount.seconds(1)

    private let control: ServerControl
    private let assembly: ConfigurationDirectoryAssembly
    private let kept: KeptTrees
    private let time: any TimeSource
    private let timers: any EventLoop
    private let threads: NIOThreadPool
    private let log: Logger
    private let client: DirectoryClient

    private var subtree: FollowedSubtree?
    private var contact = Contact.neverLoaded
    private var gate: ConfigurationGate
    private var timer: Scheduled<Void>?
    /// As the directory is now.
    private var latest: ConfigurationTree
    /// What was looked at last, whatever came of it.
    private var judged: ConfigurationTree
    private var inForce: ConfigurationTree
    private var inForceSince: Int64
    /// Why what was looked at last is not in force.
    private var refusal: String?
    private var isJudging = false

    init(
        _ start: ConfigurationStart.Followed, _ assembly: ConfigurationDirectoryAssembly, _ control: ServerControl, dataFolder: String,
        time: any TimeSource, on group: any EventLoopGroup, threads: NIOThreadPool = .singleton, log: Logger
    ) throws(CommandFailure) {
        self.assembly = assembly
        self.control = control
        self.time = time
        self.threads = threads
        self.log = log
        kept = KeptTrees(dataFolder: dataFolder)
        timers = group.any()
        client = try assembly.client(time: time, on: group, log: log)
        gate = ConfigurationGate(version: start.tree.version)
        (latest, judged, inForce) = (start.tree, start.tree, start.tree)
        inForceSince = time.wallMilliseconds
        refusal = start.trouble
    }

    func begin() async {
        if let refusal {
            log.error("the configuration that the directory said last is in force, as it was kept here", metadata: ["why": "\(refusal)", "version": "\(inForce.versionText)"])
        } else {
            await keep(inForce)
        }
        let subtree = FollowedSubtree(client, assembly.question, time: time, timers: timers, log: log) { [weak self] notice in await self?.take(notice) }
        self.subtree = subtree
        await subtree.begin()
    }

    func stop() async {
        timer?.cancel()
        await subtree?.stop()
    }

    // MARK: Changes

    private func take(_ notice: FollowedSubtree.Notice) {
        switch notice {
        case .lost(let why): contact = .lost(since: time.wallMilliseconds, why)
        case .entries(let entries, let server):
            contact = .live(server: server)
            latest = assembly.tree(entries)
            guard latest != judged else { return settle() }
            gate.changed(version: latest.version, at: time.monotonic)
            lookWhenDue()
        }
    }

    /// Nothing is new: what was changed was changed back.
    private func settle() {
        gate.settle(version: judged.version)
        timer?.cancel()
        guard judged == inForce, refusal != nil else { return }
        // What a start could not ask for is what is in force.
        refusal = nil
        log.notice("the directory says what is in force", metadata: ["version": "\(inForce.versionText)"])
    }

    private func lookWhenDue() {
        timer?.cancel()
        guard let due = gate.due else { return }
        // A timer is no task: it begins one.
        timer = timers.scheduleTask(deadline: due) { Task { await self.judge() } }
    }

    private func judge() async {
        guard !isJudging, latest != judged else { return }
        isJudging = true
        let tree = latest
        let outcome = await outcome(of: tree)
        isJudging = false
        if case .busy = outcome {
            timer = timers.scheduleTask(in: Self.busyTime) { Task { await self.judge() } }
            return
        }
        judged = tree
        gate.settle(version: tree.version)
        switch outcome {
        case .busy: break
        case .applied(let report):
            (inForce, inForceSince, refusal) = (tree, time.wallMilliseconds, nil)
            log.notice(
                "the directory's configuration is in force", metadata: ["version": "\(tree.versionText)", "changed": "\(report.applied.joined(separator: ", "))"])
            await keep(tree)
        case .refused(let why):
            refusal = why
            log.error("the directory's configuration is not put into force", metadata: ["version": "\(tree.versionText)", "why": "\(why)"])
        }
        // Meanwhile it may have changed again.
        if latest != judged {
            gate.changed(version: latest.version, at: time.monotonic)
            lookWhenDue()
        }
    }

    private func outcome(of tree: ConfigurationTree) async -> TreeOutcome {
        if let absence = tree.absence { return .refused(absence) }
        return await control.apply(tree)
    }

    /// The file is another: what was no good with the old one may be with the new one.
    func reconsider() async {
        guard refusal != nil, latest == judged, judged != inForce else { return }
        judged = inForce
        await judge()
    }

    /// On a thread that may wait for the disk.
    private func keep(_ tree: ConfigurationTree) async {
        let kept = kept
        do {
            try await threads.runIfActive { try kept.keep(tree) }
        } catch {
            log.warning("what the directory says is not kept: without it the next start would have what was kept before", metadata: ["reason": "\(error)"])
        }
    }

    // MARK: Operators

    var report: ConfigurationReport.Tree {
        var report = ConfigurationReport.Tree(base: "\(assembly.base)", entries: inForce.entries.count, contact: .neverLoaded)
        report.node = assembly.section.node
        report.version = inForce.version
        report.since = inForceSince
        report.refusal = refusal
        switch contact {
        case .neverLoaded: break
        case .live(let server): (report.contact, report.server) = (.live, server)
        case .lost(let since, let why): (report.contact, report.lostSince, report.fault) = (.lost, since, why)
        }
        return report
    }
}

extension ConfigurationTree {
    /// For people.
    var versionText: String { version.map(String.init) ?? "none" }
}
