import MartletDirectory
import NIOCore
import Testing

@Suite("Which server of the directory is asked")
struct ServerSelectionTests {
    private static let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)

    @Test("a server that cannot be reached is left alone, twice as long after each failure, up to the most")
    func rests() {
        var selection = ServerSelection(servers: 1)
        var now = Self.start
        var rests: [Int64] = []
        for _ in 0..<8 {
            selection.failed(0, at: now, jitter: 0)
            let then = now
            while !selection.admits(0, at: now) { now = now + .milliseconds(500) }
            rests.append((now - then).nanoseconds / 1_000_000_000)
        }
        #expect(rests == [1, 2, 4, 8, 16, 30, 30, 30])
    }

    @Test("jitter shortens a rest by half at most")
    func jitter() {
        var selection = ServerSelection(servers: 1)
        selection.failed(0, at: Self.start, jitter: 1)
        let tooEarly = selection.admits(0, at: Self.start + .milliseconds(499))
        let then = selection.admits(0, at: Self.start + .milliseconds(500))
        #expect(!tooEarly && then)
    }

    @Test("two timeouts in a row are nothing, three leave a server alone for ten seconds")
    func breaker() {
        var selection = ServerSelection(servers: 1)
        let opened = (0..<4).map { _ in selection.timedOut(0, at: Self.start) }
        #expect(opened == [false, false, true, true])
        let early = selection.admits(0, at: Self.start + .milliseconds(9_999))
        let then = selection.admits(0, at: Self.start + .seconds(10))
        #expect(!early && then)
    }

    @Test("an answer in between begins the count anew")
    func answered() {
        var selection = ServerSelection(servers: 1)
        for _ in 0..<10 {
            let opened = (0..<2).map { _ in selection.timedOut(0, at: Self.start) }
            #expect(opened == [false, false])
            selection.answered(0)
        }
        #expect(selection.isWell(0))
    }

    @Test("after the rest one attempt is made, and a second only if nothing is heard of the first")
    func halfOpen() {
        var selection = ServerSelection(servers: 1)
        for _ in 0..<3 { _ = selection.timedOut(0, at: Self.start) }
        let now = Self.start + .seconds(10)
        let attempts = [selection.admits(0, at: now), selection.admits(0, at: now), selection.admits(0, at: now + .milliseconds(9_999))]
        #expect(attempts == [true, false, false])
        let again = selection.admits(0, at: now + .seconds(10))
        #expect(again)
    }

    @Test("an attempt that times out once leaves the server alone again; one that is answered does not")
    func attempt() {
        var selection = ServerSelection(servers: 1)
        for _ in 0..<3 { _ = selection.timedOut(0, at: Self.start) }
        let now = Self.start + .seconds(10)
        _ = selection.admits(0, at: now)
        let isOpen = selection.timedOut(0, at: now)
        #expect(isOpen)
        let admitted = [selection.admits(0, at: now + .seconds(9)), selection.admits(0, at: now + .seconds(10))]
        #expect(admitted == [false, true])
        selection.answered(0)
        let all = [selection.admits(0, at: now + .seconds(10)), selection.admits(0, at: now + .seconds(10))]
        #expect(all == [true, true])
    }

    @Test("what becomes of one server says nothing of another")
    func others() {
        var selection = ServerSelection(servers: 2)
        selection.failed(0, at: Self.start, jitter: 0)
        let admitted = [selection.admits(0, at: Self.start), selection.admits(1, at: Self.start)]
        #expect(admitted == [false, true])
    }

    @Test("a server that does not let us in is left alone for the longest time at once: more attempts might lock the account")
    func refused() {
        var selection = ServerSelection(servers: 1)
        selection.refused(0, at: Self.start)
        let admitted = [selection.admits(0, at: Self.start + .milliseconds(29_999)), selection.admits(0, at: Self.start + .seconds(30))]
        #expect(admitted == [false, true])
    }
}
