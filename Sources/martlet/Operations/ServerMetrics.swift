package import CoreMetrics
package import MartletCore
package import MartletDirectory
package import MartletFeatures
package import MartletNetwork
import MartletXMPP
import NIOConcurrencyHelpers
package import NIOCore

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// What is counted about the server as a whole. Names are in `docs/operating.md`.
package final class ServerMetrics: Sendable {
    private let factory: any MetricsFactory
    private let sessions: Meter
    private let sessionsStarted: Counter
    private let refusals: Counter
    private let storeReads: CoreMetrics.Timer
    private let storeCommits: CoreMetrics.Timer
    private let storeCommitSubmits: Recorder
    private let dataFreeBytes: Meter
    private let dataFreePercent: Meter
    // Once an hour.
    private let certificates: NIOLockedValueBox<[String: (end: Meter, days: Meter)]>
    private let logins = NIOLockedValueBox<[LoginKind: Counter]>([:])

    private struct LoginKind: Hashable {
        let mechanism: String
        let verdict: AccountVerdict
    }

    package init(_ factory: any MetricsFactory) {
        self.factory = factory
        sessions = Meter(label: "martlet_sessions", factory: factory)
        sessionsStarted = Counter(label: "martlet_sessions_started", factory: factory)
        refusals = Counter(label: "martlet_refusals", factory: factory)
        storeReads = CoreMetrics.Timer(label: "martlet_store_read_seconds", factory: factory)
        storeCommits = CoreMetrics.Timer(label: "martlet_store_commit_seconds", factory: factory)
        storeCommitSubmits = Recorder(label: "martlet_store_commit_submits", aggregate: true, factory: factory)
        dataFreeBytes = Meter(label: "martlet_data_free_bytes", factory: factory)
        dataFreePercent = Meter(label: "martlet_data_free_percent", factory: factory)
        certificates = NIOLockedValueBox([:])
    }

    /// The meaning of every metric, for readers of `/metrics`.
    package static func describe(in registry: OpenMetricsRegistry) {
        registry.describe("martlet_sessions", .gauge, "Client sessions that are open.")
        registry.describe("martlet_sessions_started", .counter, "Client sessions since the start.")
        registry.describe(
            "martlet_channel_binding_failures", .counter, "Log-ins since the start that looked as if somebody were between the client and the server.")
        registry.describe("martlet_logins", .counter, "Attempts to log in since the start, by mechanism and what came of them.")
        registry.describe("martlet_refusals", .counter, "What was refused for lack of a privilege.")
        registry.describe("martlet_store_read_seconds", .histogram, "Time of a read of the database, measured every few seconds.")
        registry.describe("martlet_store_commit_seconds", .histogram, "Time of a commit to the database.")
        registry.describe("martlet_store_commit_submits", .histogram, "Submits that one commit carried.")
        registry.describe("martlet_stanzas", .counter, "Stanzas taken from clients and given to them since the start, by kind.")
        registry.describe("martlet_rooms", .gauge, "Rooms that are in memory.")
        registry.describe("martlet_room_occupants", .gauge, "Occupants of rooms, by nickname.")
        registry.describe("martlet_room_messages", .counter, "Messages for everybody that came to rooms since the start.")
        registry.describe("martlet_room_deliveries", .counter, "Stanzas of all kinds that rooms gave to sessions since the start.")
        registry.describe("martlet_upload_slots", .counter, "Requests for slots for files since the start, by what came of them.")
        registry.describe("martlet_uploads", .counter, "Files that were uploaded since the start, by what came of them.")
        registry.describe("martlet_upload_bytes", .counter, "Bytes of files that were uploaded since the start.")
        registry.describe("martlet_downloads", .counter, "Files, or parts of them, that were asked for since the start.")
        registry.describe("martlet_download_bytes", .counter, "Bytes of files that were given since the start.")
        registry.describe("martlet_transfers", .gauge, "Files that are on their way, by direction.")
        registry.describe("martlet_files", .gauge, "Uploaded files that are kept, as counted once an hour.")
        registry.describe("martlet_file_bytes", .gauge, "Bytes of them.")
        registry.describe("martlet_files_missing", .gauge, "Uploaded files that should be there and are not.")
        registry.describe("martlet_reports", .counter, "Reports of accounts about those whom they blocked since the start, by reason.")
        registry.describe("martlet_block_list_entries", .gauge, "Who is on a block list that the server goes by.")
        registry.describe("martlet_block_list_refusals", .counter, "What was refused since the start to those who are on block lists.")
        registry.describe("martlet_certificate_end_seconds", .gauge, "When the certificate of a domain ends, in seconds since 1970.")
        registry.describe("martlet_certificate_days_left", .gauge, "Whole days until the certificate of a domain ends; below zero once it has ended.")
        registry.describe(
            "martlet_certificate_renewals", .counter, "Times that an authority was asked for a certificate of a domain since the start, by what came of it.")
        registry.describe("martlet_data_free_bytes", .gauge, "Free space on the disk of the data folder.")
        registry.describe("martlet_data_free_percent", .gauge, "The same in percent of the disk.")
        registry.describe("martlet_ready", .gauge, "1 while the server takes clients.")
        registry.describe("martlet_connections", .gauge, "Connections of clients.")
        registry.describe("martlet_connections_unauthenticated", .gauge, "Connections that have not logged in.")
        registry.describe("martlet_unauthenticated_bytes", .gauge, "Memory counted for connections that have not logged in.")
        registry.describe("martlet_store_waiting", .gauge, "Writes that wait for the disk.")
        registry.describe("martlet_password_hashes_open", .gauge, "Passwords that are being hashed or wait for it.")
        registry.describe("martlet_peer_streams", .gauge, "Connections with other servers, by who has called.")
        registry.describe("martlet_peer_queued_bytes", .gauge, "What waits for other servers, or for their acknowledgement.")
        registry.describe("martlet_peer_stanzas", .counter, "Stanzas taken from other servers and sent to them since the start.")
        registry.describe("martlet_peer_calls_failed", .counter, "Calls to other servers that came to nothing since the start.")
        registry.describe("martlet_peer_certificates", .counter, "Certificates of other servers that were revoked, or about which that is not known.")
        registry.describe("martlet_dialback_verifications", .counter, "Dialback keys of other servers that were asked about since the start.")
        describeDirectories(in: registry)
        registry.describe("martlet_component_connected", .gauge, "1 while an external component is connected, else 0.")
        registry.describe("martlet_component_queued_bytes", .gauge, "What waits for a component.")
        registry.describe("martlet_component_stanzas", .counter, "Stanzas taken from a component and given to it since the start.")
        registry.describe("martlet_directory_roster_notes", .gauge, "What has changed in rosters of a domain and was not written to its directory yet.")
        registry.describe("martlet_directory_clients", .gauge, "Connections of directory clients.")
        registry.describe("process_open_fds", .gauge, "Files and sockets that are open.")
        registry.describe("process_resident_memory_bytes", .gauge, "Memory in use.")
        registry.describe("process_cpu_seconds", .counter, "Processor time used.")
        registry.describe("process_start_time_seconds", .gauge, "When the server started, in seconds since 1970.")
    }

    package func count(_ event: AuditEvent) {
        switch event {
        case .loginSucceeded(_, let mechanism, _, _): login(mechanism, .ok)
        case .loginFailed(_, let mechanism, _, let verdict): login(mechanism, verdict)
        case .loginSuspected(_, _, _, let suspicion): suspected(suspicion)
        case .sessionStarted:
            sessions.increment()
            sessionsStarted.increment()
        case .sessionEnded: sessions.decrement()
        case .refused: refusals.increment()
        case .reported(_, let reason, _): reported(reason)
        case .sessionDetached, .sessionResumed, .accountCreated, .accountDeleted,
            .accountQuarantined, .accountLinked, .accountGone, .serviceBound, .accountExported, .accountImported, .accountEnabled, .passwordChanged,
            .keysAdded, .applicationPasswordMade, .applicationPasswordRevoked, .deviceRevoked, .deviceNamed, .certificateAdded, .certificateRemoved,
            .certificateRefused, .archiveRead, .archivePurged, .greetingSet,
            .roomRead, .roomPurged, .roomCreated, .roomDestroyed, .roomAffiliationSet, .roomConfigured, .roomCommand, .sessionClosed, .announced, .invited, .invitationRevoked,
            .uploadsDeleted, .reportsDeleted, .peerStreamsClosed, .configurationReloaded, .sharedGroupsLeftOut: break
        }
    }

    package func storeRead(nanoseconds: Int64) { storeReads.recordNanoseconds(nanoseconds) }
    package func storeCommit(submits: Int, _ time: TimeAmount) {
        storeCommits.recordNanoseconds(time.nanoseconds)
        storeCommitSubmits.record(submits)
    }

    /// An authority was asked for a certificate of a domain (RFC 8555).
    package func certificateAsked(domain: String, isIssued: Bool) {
        let dimensions = [("domain", domain), ("outcome", isIssued ? "issued" : "failed")]
        Counter(label: "martlet_certificate_renewals", dimensions: dimensions, factory: factory).increment()
    }

    /// Reasons that are not known here are counted together: there may be any number of them.
    private func reported(_ reason: String) {
        let known = ["spam", "abuse"].first { reason == "urn:xmpp:reporting:\($0)" }
        Counter(label: "martlet_reports", dimensions: [("reason", known ?? "other")], factory: factory).increment()
    }

    private func suspected(_ suspicion: SASLFailure.Suspicion) {
        Counter(label: "martlet_channel_binding_failures", dimensions: [("reason", suspicion.rawValue)], factory: factory).increment()
    }

    /// The mechanism is one of ours: others end before they are an attempt.
    private func login(_ mechanism: String, _ verdict: AccountVerdict) {
        let kind = LoginKind(mechanism: mechanism, verdict: verdict)
        let counter = logins.withLockedValue { logins in
            if let known = logins[kind] { return known }
            let dimensions = [("mechanism", mechanism), ("verdict", verdict.rawValue)]
            let counter = Counter(label: "martlet_logins", dimensions: dimensions, factory: factory)
            logins[kind] = counter
            return counter
        }
        counter.increment()
    }

    /// Sums what the loops have counted. Before a reading.
    package static func set(_ counters: [StanzaCounters], in registry: OpenMetricsRegistry) {
        let received = counters.map(\.received).reduce(StanzaCounters.Counts(), +)
        let sent = counters.map(\.sent).reduce(StanzaCounters.Counts(), +)
        for (direction, counts) in [("in", received), ("out", sent)] {
            for (kind, count) in [("message", counts.messages), ("presence", counts.presences), ("iq", counts.iqs)] {
                let counter = registry.makeCounter(label: "martlet_stanzas", dimensions: [("direction", direction), ("kind", kind)])
                counter.reset()
                counter.increment(by: Int64(count))
            }
        }
        for (label, count) in [("martlet_room_messages", \StanzaCounters.roomMessages), ("martlet_room_deliveries", \.roomDeliveries)] {
            let counter = registry.makeCounter(label: label, dimensions: [])
            counter.reset()
            counter.increment(by: counters.reduce(0) { $0 + Int64($1[keyPath: count]) })
        }
    }

    /// What has passed between this server and others. Before a reading.
    package static func set(_ bytestreams: BytestreamService, in registry: OpenMetricsRegistry) {
        registry.makeMeter(label: "martlet_bytestreams", dimensions: []).set(Int64(bytestreams.activeCount))
        registry.makeMeter(label: "martlet_bytestreams_waiting", dimensions: []).set(Int64(bytestreams.waitingCount))
    }

    package static func set(_ federation: FederationService, in registry: OpenMetricsRegistry) {
        func count(_ label: String, _ dimensions: [(String, String)], _ value: Int) {
            let counter = registry.makeCounter(label: label, dimensions: dimensions)
            counter.reset()
            counter.increment(by: Int64(value))
        }
        for (direction, streams) in [("in", federation.incomingCount), ("out", federation.outgoingCount)] {
            registry.makeMeter(label: "martlet_peer_streams", dimensions: [("direction", direction)]).set(Int64(streams))
        }
        registry.makeMeter(label: "martlet_peer_queued_bytes", dimensions: []).set(Int64(federation.queuedBytes))
        registry.makeMeter(label: "martlet_peer_stored_messages", dimensions: []).set(Int64(federation.keptCount))
        let counters = federation.counters
        count("martlet_peer_stanzas", [("direction", "in")], counters.receivedCount)
        count("martlet_peer_stanzas", [("direction", "out")], counters.sentCount)
        count("martlet_peer_calls_failed", [], counters.failedCallCount)
        count("martlet_peer_certificates", [("revocation", "revoked")], counters.revokedCertificateCount)
        count("martlet_peer_certificates", [("revocation", "unknown")], counters.uncheckedCertificateCount)
        count("martlet_dialback_verifications", [("outcome", "valid")], counters.confirmedKeyCount)
        count("martlet_dialback_verifications", [("outcome", "invalid")], counters.rejectedKeyCount)
        count("martlet_dialback_verifications", [("outcome", "error")], counters.unverifiedKeyCount)
    }

    /// What is not in directories yet. Before a reading.
    package static func set(_ rosters: [RosterExchange], in registry: OpenMetricsRegistry) {
        for exchange in rosters {
            registry.makeMeter(label: "martlet_directory_roster_notes", dimensions: [("domain", "\(exchange.domain)")]).set(Int64(exchange.waitingCount))
        }
    }

    /// What has passed between this server and its components. Before a reading.
    package static func set(_ components: [ComponentReport], in registry: OpenMetricsRegistry) {
        for component in components {
            let name = ("component", component.name)
            registry.makeMeter(label: "martlet_component_connected", dimensions: [name]).set(component.address == nil ? Int64(0) : 1)
            registry.makeMeter(label: "martlet_component_queued_bytes", dimensions: [name]).set(Int64(component.waitingBytes))
            for (direction, count) in [("in", component.received), ("out", component.sent)] {
                let counter = registry.makeCounter(label: "martlet_component_stanzas", dimensions: [name, ("direction", direction)])
                counter.reset()
                counter.increment(by: Int64(count))
            }
        }
    }

    /// Block lists that others share. Before a reading.
    package static func set(_ keeper: SharedListKeeper, in registry: OpenMetricsRegistry) {
        for report in keeper.reports {
            let dimensions = [("service", report.name.service.description), ("node", report.name.node)]
            registry.makeMeter(label: "martlet_block_list_entries", dimensions: dimensions).set(Int64(report.entries))
        }
        let refusals = registry.makeCounter(label: "martlet_block_list_refusals", dimensions: [])
        refusals.reset()
        refusals.increment(by: Int64(keeper.lists.refusalCount))
    }

    /// What has been uploaded and downloaded. Before a reading.
    package static func set(_ counts: Uploads.Counts, in registry: OpenMetricsRegistry) {
        func count(_ label: String, _ dimensions: [(String, String)], _ value: Int) {
            let counter = registry.makeCounter(label: label, dimensions: dimensions)
            counter.reset()
            counter.increment(by: Int64(value))
        }
        func set(_ label: String, _ dimensions: [(String, String)], _ value: Int) {
            registry.makeMeter(label: label, dimensions: dimensions).set(Int64(value))
        }
        count("martlet_upload_slots", [("outcome", "given")], counts.slots)
        count("martlet_upload_slots", [("outcome", "refused")], counts.slotsRefused)
        count("martlet_uploads", [("outcome", "kept")], counts.uploads)
        count("martlet_uploads", [("outcome", "failed")], counts.uploadsFailed)
        count("martlet_upload_bytes", [], counts.uploadedBytes)
        count("martlet_downloads", [], counts.downloads)
        count("martlet_download_bytes", [], counts.downloadedBytes)
        set("martlet_transfers", [("direction", "in")], counts.openUploads)
        set("martlet_transfers", [("direction", "out")], counts.openDownloads)
        set("martlet_files", [], counts.keptFiles)
        set("martlet_file_bytes", [], counts.keptBytes)
        set("martlet_files_missing", [], counts.missingFiles)
    }

    package func dataSpace(freeBytes: Int, freePercent: Int) {
        dataFreeBytes.set(freeBytes)
        dataFreePercent.set(freePercent)
    }

    package func certificate(of domain: String, ends: Int, daysLeft: Int) {
        let meters = certificates.withLockedValue { meters in
            let dimensions = [("domain", domain)]
            let own = meters[domain] ?? (
                end: Meter(label: "martlet_certificate_end_seconds", dimensions: dimensions, factory: factory),
                days: Meter(label: "martlet_certificate_days_left", dimensions: dimensions, factory: factory)
            )
            meters[domain] = own
            return own
        }
        meters.end.set(ends)
        meters.days.set(daysLeft)
    }
}

/// What the system says of this process.
package enum ProcessFigures {
    package static func addProbes(to registry: OpenMetricsRegistry, startSeconds: Int) {
        registry.addProbe { registry in
            registry.makeMeter(label: "process_start_time_seconds", dimensions: []).set(Int64(startSeconds))
            if let files = openFiles() { registry.makeMeter(label: "process_open_fds", dimensions: []).set(Int64(files)) }
            if let bytes = residentBytes() { registry.makeMeter(label: "process_resident_memory_bytes", dimensions: []).set(Int64(bytes)) }
            let cpu = registry.makeFloatingPointCounter(label: "process_cpu_seconds", dimensions: [])
            cpu.reset()
            cpu.increment(by: cpuSeconds())
        }
    }

    private static func openFiles() -> Int? {
        guard let folder = opendir("/proc/self/fd") else { return nil }
        defer { closedir(folder) }
        // Not the entries of the folder itself and of its parent, nor the folder that is being read.
        var count = -3
        while readdir(folder) != nil { count += 1 }
        return max(count, 0)
    }

    private static func residentBytes() -> Int? {
        guard case .success(let bytes) = ConfigurationFiles.disk.read("/proc/self/statm", 4_096) else { return nil }
        let fields = String(decoding: bytes, as: UTF8.self).split(separator: " ")
        guard fields.count > 1, let pages = Int(fields[1]) else { return nil }
        return pages * Int(sysconf(Int32(_SC_PAGESIZE)))
    }

    private static func cpuSeconds() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}
