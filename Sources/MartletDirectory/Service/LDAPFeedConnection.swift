import MartletLDAP
package import NIOCore

/// Searches that follow a directory, on one of our connections to it.
///
/// What they say is kept until it is asked for, up to ``waitingMax``; beyond that they are read no further.
package actor LDAPFeedConnection: FeedConnection {
    /// Messages that wait to be asked for.
    static let waitingMax = 1_024

    package nonisolated let server: String
    private let connection: LDAPConnection
    private let question: FeedQuestion
    private let timers: any EventLoop
    private var searches: [Task<Void, Never>] = []
    private var waiting: [FeedMessage] = []
    /// Searches that go on when what waits has been taken.
    private var producers: [CheckedContinuation<Void, Never>] = []
    /// Who waits for a message, or for the moment that has been given.
    private var asker: (number: Int, continuation: CheckedContinuation<Void, Never>)?
    private var askedCount = 0
    /// Why there is nothing more to come.
    private(set) var failure: DirectoryFailure?

    package init(_ connection: LDAPConnection, _ question: FeedQuestion, timers: any EventLoop) {
        self.connection = connection
        self.question = question
        self.timers = timers
        server = "\(connection.address)"
    }

    // MARK: Searches

    /// What goes on beside others is with the server when this returns: of whatever happens after that it tells.
    package func begin(_ search: FeedSearch) async {
        let asked = question.search(search)
        guard asked.isPersistent else { return searches.append(Task { await self.run(search) { () throws(DirectoryFailure) in try await self.read(asked, search) } }) }
        do throws(DirectoryFailure) {
            let found = try await connection.search(asked.request, controls: asked.controls, isPersistent: true)
            searches.append(Task { await self.run(search) { () throws(DirectoryFailure) in try await self.follow(found, search) } })
        } catch {
            fail(error)
        }
    }

    private func run(_ search: FeedSearch, _ work: () async throws(DirectoryFailure) -> Void) async {
        do throws(DirectoryFailure) {
            try await work()
        } catch {
            guard case .refused(let result) = error else { return fail(error) }
            await deliver([.done(result, controls: [])], of: search)
        }
    }

    private func follow(_ found: LDAPSearch, _ search: FeedSearch) async throws(DirectoryFailure) {
        while true {
            let items = try await found.next()
            guard !items.isEmpty else { return }
            await deliver(items, of: search)
        }
    }

    private func read(_ asked: FeedQuestion.Search, _ search: FeedSearch) async throws(DirectoryFailure) {
        for try await entry in connection.pages(of: asked.request, controls: asked.controls) { await deliver([.entry(entry, controls: [])], of: search) }
        await deliver([.done(LDAPResult(.success), controls: [])], of: search)
    }

    private func deliver(_ items: [SearchItem], of search: FeedSearch) async {
        waiting += items.compactMap { question.message($0, of: search) }
        if !waiting.isEmpty { answer() }
        guard waiting.count >= Self.waitingMax, failure == nil else { return }
        await withCheckedContinuation { producers.append($0) }
    }

    // MARK: Messages

    package func messages(until deadline: NIODeadline?) async -> [FeedMessage]? {
        if waiting.isEmpty, failure == nil { await wait(until: deadline) }
        guard waiting.isEmpty else { return taken() }
        return failure == nil ? [] : nil
    }

    private func wait(until deadline: NIODeadline?) async {
        askedCount += 1
        let number = askedCount
        let timer = deadline.map { timers.scheduleTask(deadline: $0) { Task { await self.giveUp(number) } } }
        await withCheckedContinuation { asker = (number, $0) }
        timer?.cancel()
    }

    private func taken() -> [FeedMessage] {
        defer {
            waiting = []
            release()
        }
        return waiting
    }

    private func giveUp(_ number: Int) { if asker?.number == number { answer() } }

    private func answer() {
        asker?.continuation.resume()
        asker = nil
    }

    private func release() {
        for producer in producers { producer.resume() }
        producers = []
    }

    // MARK: The end

    private func fail(_ why: DirectoryFailure) {
        if failure == nil { failure = why }
        answer()
        release()
    }

    package func close() {
        fail(.closed)
        for search in searches { search.cancel() }
        searches = []
        connection.unbind()
    }
}
