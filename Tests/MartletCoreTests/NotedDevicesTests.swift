import MartletCore
import Testing

@Suite("What is known of the devices that the store has (XEP-0494)")
struct NotedDevicesTests {
    private static let hour = StoredDevice.seenGranularity
    private let phone = DeviceID(resource: "phone")

    private func phone(at time: Int64, _ change: (inout DeviceSighting) -> Void = { _ in }) -> DeviceSighting {
        var sighting = DeviceSighting(phone, software: "Client", name: "phone", by: .password, at: time)
        change(&sighting)
        return sighting
    }

    private func device(_ number: Int, at time: Int64) -> DeviceSighting { DeviceSighting(DeviceID(raw: Int64(number)), by: [], at: time) }

    @Test("one that the store has seen within the hour and that says nothing new is not written", arguments: [0, hour - 1, hour, -1])
    func granularity(later: Int64) {
        var devices = NotedDevices([phone(at: 10 * Self.hour)])
        let isWritten = devices.see(phone(at: 10 * Self.hour + later))
        #expect(isWritten == (later == Self.hour))
        // From when it is written the hour counts anew.
        let again = devices.see(phone(at: 10 * Self.hour + later + 1))
        #expect(again == (later == Self.hour - 1))
    }

    @Test("whatever it says or shows that is new is written at once, and is known then")
    func news() {
        let changes: [(inout DeviceSighting) -> Void] = [
            { $0.software = nil }, { $0.name = "other" }, { $0.proofs = .certificate }, { $0.applicationPassword = "mail" },
        ]
        for change in changes {
            var devices = NotedDevices([phone(at: 0)])
            let (first, second) = (devices.see(phone(at: 1, change)), devices.see(phone(at: 2, change)))
            #expect(first && !second)
        }
        // What it has shown adds up.
        var devices = NotedDevices([phone(at: 0)])
        let (token, certificate) = (devices.see(phone(at: 1) { $0.proofs = [] }), devices.see(phone(at: 1) { $0.proofs = .certificate }))
        let both = devices.see(phone(at: 1) { $0.proofs = [.password, .certificate] })
        #expect(!token && certificate && !both)
    }

    @Test("on another day the use of a password for an application is written")
    func days() {
        let midnight = StoredApplicationPassword.useGranularity
        for (password, expected) in [(nil, false), ("mail", true)] {
            var devices = NotedDevices([phone(at: midnight - 1) { $0.applicationPassword = password }])
            let isWritten = devices.see(phone(at: midnight) { $0.applicationPassword = password })
            #expect(isWritten == expected)
        }
    }

    @Test("the end of a session is written if the store has not seen the device within the hour, or if nothing is known of it", arguments: [hour - 1, hour])
    func leaving(later: Int64) {
        var devices = NotedDevices([phone(at: 5)])
        let (known, unknown) = (devices.leave(phone, at: 5 + later), devices.leave(DeviceID(resource: "laptop"), at: 5))
        #expect(known == (later == Self.hour) && unknown)
        let again = devices.leave(phone, at: 5 + later)
        #expect(!again)
    }

    @Test("one too many takes the place of another, of which nothing is known then", arguments: [0, 1])
    func full(more: Int) {
        let count = StoredDevice.perAccountMax - 1 + more
        var devices = NotedDevices((0..<count).map { device($0, at: 0) })
        let new = devices.see(device(-1, at: 1))
        let others = (0..<count).filter { number in devices.see(device(number, at: 1)) }
        #expect(new && others.isEmpty == (more == 0))
    }

    @Test("where it is not known how many there are, one that comes makes the others unknown")
    func incomplete() {
        var devices = NotedDevices()
        let (first, second) = (devices.see(device(1, at: 0)), devices.see(device(1, at: 0)))
        #expect(first && !second)
        let (other, third) = (devices.see(device(2, at: 0)), devices.see(device(1, at: 0)))
        #expect(other && third)
    }
}
