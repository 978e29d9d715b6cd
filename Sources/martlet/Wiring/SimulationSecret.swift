import MartletCore
import MartletXMPP

/// The secret behind the keys of accounts that do not exist, kept in the data folder so that they stay the same.
enum SimulationSecret {
    static let byteCount = 32

    static func load(from folder: String) throws(CommandFailure) -> [UInt8] {
        let path = folder + "/simulation.secret"
        guard PrivateFiles.exists(path) else {
            let secret = SystemRandom().bytes(byteCount)
            try PrivateFiles.write(secret, to: path)
            return secret
        }
        let secret = try PrivateFiles.read(path, bytesMax: 1_024)
        guard secret.count >= ScramSimulation.secretBytesMin else {
            throw CommandFailure(.data, "\(path) is damaged: \(secret.count) bytes, \(byteCount) expected", hint: "delete it; a new one is made")
        }
        return secret
    }
}
