import MartletCore
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("What waits for an account is bounded by number and by bytes")
struct WaitingWorkTests {
    private let message = "<message to='juliet@capulet.example' type='chat' id='m'><body>b</body></message>"

    private func server(count: Int = 1_000, bytes: Int = 1 << 20) -> TestServer {
        var limits = HostLimits()
        limits.parkedMax = count
        limits.parkedBytesMax = bytes
        let server = TestServer(limits: limits, commits: .manual)
        server.createAccount("juliet")
        return server
    }

    private func commit(_ server: TestServer) {
        server.store.commit()
        server.run()
    }

    /// Sends to an account that cannot be read yet.
    /// - Returns: how many messages came back at once, and how many were kept.
    private func flood(_ server: TestServer, _ count: Int, _ message: String) -> (refused: Int, kept: Int) {
        let romeo = server.online("romeo/orchard")
        server.store.submit([.idCeiling(1)])
        for _ in 0..<count { romeo.send(message) }
        let refused = romeo.received()
        #expect(refused.allSatisfy { $0.error == "wait/resource-constraint" })
        commit(server)
        let juliet = server.client("juliet/balcony")
        juliet.send("<presence/>")
        commit(server)
        return (refused.count, juliet.receivedBesidesPresence().count)
    }

    @Test("while an account is being loaded, so many stanzas wait and no more", arguments: [4, 5])
    func number(count: Int) {
        let outcome = flood(server(count: 4), count, message)
        #expect(outcome == (refused: count - 4, kept: 4))
    }

    @Test("and so many bytes", arguments: [4, 5])
    func bytes(count: Int) throws {
        let size = try parseElement(ByteBuffer(string: message), limits: .authenticated).byteCount
        let outcome = flood(server(bytes: 4 * size + size - 1), count, message)
        #expect(outcome == (refused: count - 4, kept: 4))
    }

    @Test("what comes while stored messages are delivered is bounded in the same way", arguments: [4, 5])
    func held(count: Int) {
        let server = server(count: 4)
        let romeo = server.online("romeo/orchard")
        romeo.send(message)
        commit(server)
        let juliet = server.client("juliet/balcony")
        server.store.submit([.idCeiling(1)])
        juliet.send("<presence/>")
        for _ in 0..<count { romeo.send(message) }
        #expect(romeo.received().map(\.error) == Array(repeating: "wait/resource-constraint", count: count - 4))
        commit(server)
        #expect(juliet.receivedBesidesPresence().count == 5)
    }
}
