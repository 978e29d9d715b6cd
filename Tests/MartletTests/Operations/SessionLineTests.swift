import Testing

import martlet

@Suite("What is told of sessions")
struct SessionLineTests {
    @Test("a session says in the list whether it has a connection")
    func list() {
        let lines = [(nil, false), (5, false), (nil, true), (-1, true)].map { SessionLine(address: "a@b/c", priority: $0, isDetached: $1).text }
        #expect(lines == ["a@b/c  not available", "a@b/c  priority 5", "a@b/c  not available  detached", "a@b/c  priority -1  detached"])
    }
}
