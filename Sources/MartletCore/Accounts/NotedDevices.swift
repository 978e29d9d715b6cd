/// What is known of what the store has of an account's devices: a log-in that would change nothing there but the minute writes nothing.
///
/// Of a device that is not here nothing is known, and what it says of itself is written. So whatever may have changed the store behind the home's back
/// empties it (``AccountHome/forgetDevices()``).
package struct NotedDevices: Sendable {
    /// Each with what it said last, all that it has shown, and when it was seen last, as far as that is on disk or on its way there.
    private var all: [DeviceSighting] = []
    /// Whether there are no others in the store. Where there may be, one that comes could be one too many, for which another has given way.
    private var isComplete = false

    package init() {}

    /// - Parameter stored: all that there are.
    package init(_ stored: [DeviceSighting]) {
        all = stored
        isComplete = true
    }

    /// A device has logged in. - Returns: whether that is to be written.
    package mutating func see(_ sighting: DeviceSighting) -> Bool {
        guard let index = all.firstIndex(where: { $0.id == sighting.id }) else {
            if !isComplete || all.count >= StoredDevice.perAccountMax { self = NotedDevices() }
            all.append(sighting)
            forgetOthers(by: sighting)
            return true
        }
        if all[index].covers(sighting) { return false }
        let before = all[index]
        all[index] = sighting
        all[index].proofs.formUnion(before.proofs)
        all[index].time = max(before.time, sighting.time)
        forgetOthers(by: sighting)
        return true
    }

    /// Of those that have used the same password before it is to be written if they use it again (``UsedApplicationPasswords``).
    private mutating func forgetOthers(by sighting: DeviceSighting) {
        guard let name = sighting.applicationPassword, all.contains(where: { $0.id != sighting.id && $0.applicationPassword == name }) else { return }
        all.removeAll { $0.id != sighting.id && $0.applicationPassword == name }
        isComplete = false
    }

    /// Its last session has ended. - Returns: whether that is to be written.
    package mutating func leave(_ id: DeviceID, at time: Int64) -> Bool {
        guard let index = all.firstIndex(where: { $0.id == id }) else { return true }
        guard time >= all[index].time + StoredDevice.seenGranularity else { return false }
        all[index].time = time
        return true
    }
}

extension DeviceSighting {
    /// Whether `other` says nothing that is not in this, within ``StoredDevice/seenGranularity``. When a password for an application was used is remembered
    /// by the day.
    fileprivate func covers(_ other: DeviceSighting) -> Bool {
        let isSameDay = StoredApplicationPassword.day(of: time) == StoredApplicationPassword.day(of: other.time)
        return software == other.software && name == other.name && applicationPassword == other.applicationPassword && proofs.isSuperset(of: other.proofs)
            && other.time < time + StoredDevice.seenGranularity && (applicationPassword == nil || isSameDay)
    }
}
