import MartletCore
import MartletXMPP

/// Secrets that the server makes for itself, kept in the data folder so that they stay the same.
enum ServerSecret: String {
    /// Behind the keys of accounts that do not exist.
    case simulation
    /// Behind the names of occupants of rooms (XEP-0421).
    case occupants
    /// Behind dialback keys (XEP-0185).
    case dialback
    /// Behind the tokens of devices (XEP-0484).
    case tokens
    /// Behind what is kept of passwords of a directory, to see that they change.
    case directory

    static let byteCount = 32

    func load(from folder: String) throws(CommandFailure) -> [UInt8] {
        let path = "\(folder)/\(rawValue).secret"
        guard PrivateFiles.exists(path) else {
            let secret = SystemRandom().bytes(Self.byteCount)
            try PrivateFiles.write(secret, to: path)
            return secret
        }
        let secret = try PrivateFiles.read(path, bytesMax: 1_024)
        guard secret.count >= ScramSimulation.secretBytesMin else {
            throw CommandFailure(.data, "\(path) is damaged: \(secret.count) bytes, \(Self.byteCount) expected", hint: "delete it; a new one is made")
        }
        return secret
    }
}
