import NIOConcurrencyHelpers
package import NIOCore
package import X509

/// Finds out whether certificates are revoked: from lists in files, from those that their issuers publish, and from OCSP responders (RFC 5280 §6.3,
/// RFC 6960). One for the process.
///
/// Only what an authority that is trusted has signed makes the server ask anybody: chains are followed first. What was found is remembered until it
/// says that there is something newer, and fetched anew when four fifths of that time are over, if somebody has wanted it meanwhile.
package final class RevocationChecker: Sendable {
    /// Somebody who knows about certificates of one issuer, or about one of them.
    private struct Source: Hashable {
        let url: HTTPURL
        let issuer: RevocationIssuer
        /// `nil`: there is a list.
        let request: ResponderRequest?
    }

    private enum Word {
        case list(RevocationList)
        case answer(ResponderAnswer)
        case nothing(RevocationFault)

        var byteCount: Int { if case .list(let list) = self { list.byteCount } else { 1_024 } }
        var nextUpdate: Int? {
            switch self {
            case .list(let list): list.nextUpdate
            case .answer(let answer): answer.nextUpdate
            case .nothing: nil
            }
        }
    }

    private struct Entry {
        var word: Word
        /// Seconds since 1970: from when it is fetched anew, and from when it counts no more.
        var refreshFrom: Int
        var until: Int
        var lastUse: Int
        var wasUsed = true
    }

    private struct State {
        var settings: RevocationSettings
        var files = RevocationFiles()
        /// What came of looking who has made the lists in the files; `nil` in it: that issuer has.
        var proofs: [RevocationFiles.Proof: RevocationFault?] = [:]
        var entries: [Source: Entry] = [:]
        var underWay: [Source: EventLoopFuture<Void>] = [:]
        var bytes = 0
        var changes = 0
    }

    private let dialler: Dialler
    // Held for look-ups; during a handshake, never on the way of a stanza.
    private let state: NIOLockedValueBox<State>

    /// - Parameter dialler: with the policy that says which addresses may be dialled.
    package init(_ settings: RevocationSettings, _ dialler: Dialler, _ files: RevocationFiles = RevocationFiles()) {
        self.dialler = dialler
        state = NIOLockedValueBox(State(settings: settings, files: files))
    }

    package var settings: RevocationSettings { state.withLockedValue { $0.settings } }
    /// Another number whenever something newer than before is known.
    package var changes: Int { state.withLockedValue { $0.changes } }
    /// What is remembered of what was fetched, in number and in bytes.
    package var remembered: (count: Int, bytes: Int) { state.withLockedValue { ($0.entries.count, $0.bytes) } }

    /// What is being fetched at the moment, in number.
    package var fetchCount: Int { state.withLockedValue { $0.underWay.count } }

    package func apply(_ settings: RevocationSettings, _ files: RevocationFiles) {
        state.withLockedValue { state in
            state.settings = settings
            Self.replace(files, in: &state)
        }
    }

    private static func replace(_ files: RevocationFiles, in state: inout State) {
        guard files != state.files else { return }
        state.files = files
        state.proofs = [:]
        state.changes += 1
    }

    // MARK: Asking

    /// What is known about a chain, the anchor at its end excepted.
    ///
    /// - Parameters:
    ///   - chain: each one issued by the next.
    ///   - now: seconds since 1970.
    ///   - loop: where is fetched.
    ///   - end: until when is waited for what has to be fetched; if that is past, only what is known already counts.
    ///   - fetchesForLater: whether what is not known is fetched also if nobody waits for it.
    package func finding(
        about chain: [Certificate], now: Int, on loop: any EventLoop, until end: NIODeadline, fetchesForLater: Bool = false
    ) async -> RevocationFinding {
        guard settings.mode != .off, chain.count > 1 else { return .notAsked }
        var findings: [RevocationFinding] = []
        for (certificate, issuer) in zip(chain, chain.dropFirst()) {
            guard let question = RevocationQuestion(certificate, issuedBy: issuer) else { return .unknown("a certificate", why: "it cannot be read") }
            let finding = await finding(question, now, on: loop, until: end, fetchesForLater)
            if case .revoked = finding { return finding }
            findings.append(finding)
        }
        return findings.first { if case .good = $0 { false } else { true } } ?? findings.first ?? .notAsked
    }

    private func finding(
        _ question: RevocationQuestion, _ now: Int, on loop: any EventLoop, until end: NIODeadline, _ fetchesForLater: Bool
    ) async -> RevocationFinding {
        var faults: [String] = []
        if let finding = inFiles(question, now, &faults) { return finding }
        let sources = Self.sources(of: question)
        // What is there already comes before what would have to be fetched.
        for source in sources {
            if let word = recall(source, now, on: loop), let finding = try? Self.finding(word, question, source, now) { return finding }
        }
        if fetchesForLater { for source in sources where recall(source, now, on: loop) == nil { _ = fetch(source, now, on: loop) } }
        for (index, source) in sources.enumerated() {
            // Whoever does not answer leaves time for the others.
            let time = max(end - .now(), .zero)
            let word = await word(of: source, now, on: loop, within: .nanoseconds(time.nanoseconds / Int64(sources.count - index)))
            do throws(RevocationFault) { return try Self.finding(word, question, source, now) } catch { faults.append("\(source.url): \(error)") }
        }
        return faults.isEmpty ? .unsaid(question.subject) : .unknown(question.subject, why: faults.joined(separator: "; "))
    }

    private static func sources(of question: RevocationQuestion) -> [Source] {
        let request = ResponderRequest(question)
        // An answer is short, a list may be long.
        return question.responderURLs.map { Source(url: $0, issuer: question.issuer, request: request) }
            + question.listURLs.map { Source(url: $0, issuer: question.issuer, request: nil) }
    }

    private static func finding(
        _ word: Word, _ question: RevocationQuestion, _ source: Source, _ now: Int
    ) throws(RevocationFault) -> RevocationFinding {
        let isRevoked: Bool
        switch word {
        case .nothing(let fault): throw fault
        case .list(let list): isRevoked = try list.isRevoked(question, now: now)
        case .answer(let answer):
            try answer.check(now)
            isRevoked = answer.isRevoked
        }
        return isRevoked ? .revoked(question.subject, by: "\(source.url)") : .good(by: "\(source.url)")
    }

    // MARK: Files

    /// What lists in files say, if one has it; otherwise why those of the issuer's do not.
    private func inFiles(_ question: RevocationQuestion, _ now: Int, _ faults: inout [String]) -> RevocationFinding? {
        var isGood: String?
        for (place, list) in state.withLockedValue({ $0.files }).lists where list.issuer == question.issuerName {
            do throws(RevocationFault) {
                let isRevoked = try list.isRevoked(question, now: now)
                try prove(list, RevocationFiles.Proof(place: place, issuer: question.issuer))
                if isRevoked { return .revoked(question.subject, by: place.path) }
                isGood = isGood ?? place.path
            } catch where error == .otherScope {
                // Another one may have it.
            } catch {
                faults.append("\(place.path): \(error)")
            }
        }
        return isGood.map { .good(by: $0) }
    }

    private func prove(_ list: RevocationList, _ proof: RevocationFiles.Proof) throws(RevocationFault) {
        if let known = state.withLockedValue({ $0.proofs[proof] }) {
            if let fault = known { throw fault }
            return
        }
        var fault: RevocationFault?
        do throws(RevocationFault) { try list.prove(by: proof.issuer) } catch { fault = error }
        state.withLockedValue { state in
            if state.proofs.count >= RevocationFiles.proofsMax { state.proofs = [:] }
            state.proofs[proof] = .some(fault)
        }
        if let fault { throw fault }
    }

    // MARK: What was fetched

    /// What is remembered and still counts. When it is time, it is fetched anew behind that.
    private func recall(_ source: Source, _ now: Int, on loop: any EventLoop) -> Word? {
        let (word, isDue): (Word?, Bool) = state.withLockedValue { state in
            guard let entry = state.entries[source], now < entry.until else { return (nil, false) }
            state.entries[source]?.lastUse = now
            state.entries[source]?.wasUsed = true
            return (entry.word, now >= entry.refreshFrom)
        }
        if isDue { _ = fetch(source, now, on: loop) }
        return word
    }

    /// What the source says, after fetching it if need be.
    private func word(of source: Source, _ now: Int, on loop: any EventLoop, within time: TimeAmount) async -> Word {
        if let word = recall(source, now, on: loop) { return word }
        guard time > .zero else { return .nothing(.notAsked("there was no time left to ask")) }
        guard let end = fetch(source, now, on: loop) else { return .nothing(.notAsked("too much is being fetched")) }
        // A promise of the waiter's own, since the fetch goes on without it.
        let waiter = loop.makePromise(of: Void.self)
        let timer = loop.scheduleTask(in: time) { waiter.succeed() }
        end.whenComplete { _ in
            timer.cancel()
            waiter.succeed()
        }
        try? await waiter.futureResult.get()
        return recall(source, now, on: loop) ?? .nothing(.notAsked("no answer in time"))
    }

    /// Begins to fetch, unless that is under way already.
    ///
    /// - Returns: done when it is done; `nil` if there are too many fetches.
    private func fetch(_ source: Source, _ now: Int, on loop: any EventLoop) -> EventLoopFuture<Void>? {
        let (future, promise): (EventLoopFuture<Void>?, EventLoopPromise<Void>?) = state.withLockedValue { state in
            if let future = state.underWay[source] { return (future, nil) }
            guard state.underWay.count < state.settings.fetchesMax else { return (nil, nil) }
            let promise = loop.makePromise(of: Void.self)
            state.underWay[source] = promise.futureResult
            return (promise.futureResult, promise)
        }
        guard let promise else { return future }
        // A task on the system's threads: reading a long list would hold the loop up.
        Task {
            let word = await fetchedWord(source, now, on: loop)
            store(word, source, now)
            promise.succeed()
        }
        return future
    }

    private func fetchedWord(_ source: Source, _ now: Int, on loop: any EventLoop) async -> Word {
        let settings = settings
        let fetch = HTTPFetch(dialler, on: loop, hosts: settings.hosts)
        var request = HTTPRequest(source.url, bytesMax: RevocationList.bytesMax, deadline: settings.fetchDeadline)
        if let asked = source.request {
            request.method = .post(asked.bytes, type: "application/ocsp-request")
            request.bytesMax = ResponderAnswer.bytesMax
        }
        do {
            let bytes = try await fetch.answer(to: request).bytes
            if let asked = source.request { return .answer(try ResponderAnswer(bytes, to: asked, by: source.issuer, now: now)) }
            let list = try RevocationList(bytes)
            try list.prove(by: source.issuer)
            try list.check(now)
            return .list(list.withoutProof)
        } catch let error as HTTPFetchError {
            return .nothing(.unfetched(error))
        } catch {
            return .nothing(error as? RevocationFault ?? .malformed)
        }
    }

    private func store(_ word: Word, _ source: Source, _ now: Int) {
        state.withLockedValue { state in
            state.underWay[source] = nil
            let old = state.entries[source]
            guard let nextUpdate = word.nextUpdate else {
                // What was good before stays so until its time is over.
                if let old, old.word.nextUpdate != nil, now < old.until {
                    state.entries[source]?.refreshFrom = now + state.settings.failureLifetime
                    return
                }
                let until = now + state.settings.failureLifetime
                return Self.put(Entry(word: word, refreshFrom: until, until: until, lastUse: now), source, in: &state)
            }
            let until = max(nextUpdate, now + Self.lifetimeMin)
            let refreshFrom = now + min((until - now) / 5 * 4, state.settings.refreshMax)
            Self.put(Entry(word: word, refreshFrom: refreshFrom, until: until, lastUse: now, wasUsed: false), source, in: &state)
            // Also what is heard for the first time: somebody may have been let in meanwhile.
            state.changes += 1
        }
    }

    /// Something that is almost out of date is not fetched by everybody who comes, in seconds.
    private static let lifetimeMin = 60

    private static func put(_ entry: Entry, _ source: Source, in state: inout State) {
        remove(source, in: &state)
        state.entries[source] = entry
        state.bytes += entry.word.byteCount
        while state.entries.count > state.settings.rememberedMax || state.bytes > state.settings.rememberedBytesMax {
            guard let oldest = state.entries.filter({ $0.key != source }).min(by: { $0.value.lastUse < $1.value.lastUse }) else { return }
            remove(oldest.key, in: &state)
        }
    }

    private static func remove(_ source: Source, in state: inout State) {
        if let entry = state.entries.removeValue(forKey: source) { state.bytes -= entry.word.byteCount }
    }

    // MARK: In advance

    /// Reads files that have changed, and fetches what is in use and will be out of date. Once a minute.
    ///
    /// - Returns: what is wrong with files; then what they held before goes on to count.
    package func keepUp(now: Int, on loop: any EventLoop) async -> [RevocationFileError] {
        let files = state.withLockedValue { $0.files }
        let (fresh, errors) = files.reread()
        let due: [Source] = state.withLockedValue { state in
            // Unless a reload has named others meanwhile.
            if state.files == files { Self.replace(fresh, in: &state) }
            for (source, entry) in state.entries where entry.until <= now { Self.remove(source, in: &state) }
            return state.entries.filter { $0.value.refreshFrom <= now && $0.value.wasUsed }.map(\.key)
        }
        for source in due { _ = fetch(source, now, on: loop) }
        return errors
    }
}
